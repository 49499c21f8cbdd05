"""The embedded vision model as a person uses it: through HTTP, with all that may hold a picture.

Few tests with several questions each: starting the model takes longer than its answers.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, BadRequestError
from pictures import data_url, jpeg, pdf, plain, png, scorecard, shapes, text
from running import VISION_MODEL, RunningKernel, add_echo_models, run_kernel

from transports.settings import HttpSettings, KernelSettings, Settings

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]

CARD = scorecard(("Tests", "98", "green"), ("Latency", "412", "red"), ("Errors", "7", "amber"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    vision_prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningKernel]:
    home = tmp_path_factory.mktemp("home")
    add_echo_models(home)
    (home / "envs").symlink_to(vision_prepared / "envs")
    settings = Settings(kernel=KernelSettings(frontends=("http",)), http=HttpSettings(port=0))
    kernel = await run_kernel(settings, home, (VISION_MODEL,))
    yield kernel
    await kernel.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sdk(served: RunningKernel) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def image_part(picture: bytes, **fields: object) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": data_url(picture), **fields}}


def user(*parts: object) -> dict[str, object]:
    """A turn; strings become text parts."""
    return {
        "role": "user",
        "content": [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts],
    }


async def answer(sdk: AsyncOpenAI, *turns: Any, **fields: Any) -> str:
    whole = await sdk.chat.completions.create(model=VISION_MODEL, messages=turns, temperature=0, **fields)
    return whole.choices[0].message.content or ""


async def test_a_scorecard_is_read_while_it_streams(sdk: AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model=VISION_MODEL,
        messages=[user(image_part(png(CARD)), "Which row is red?")],
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Latency"
    # Most of the prompt is the picture.
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens > 50


async def ask_anthropic(sdk: AsyncAnthropic, *blocks: Any, question: str) -> tuple[str, int, int]:
    """The answer; its prompt's tokens as it tells them, and as they are counted."""
    content = [*blocks, {"type": "text", "text": question}]
    turns: Any = [{"role": "user", "content": content}]
    counted = await sdk.messages.count_tokens(model=VISION_MODEL, messages=turns)
    message = await sdk.messages.create(
        model=VISION_MODEL, max_tokens=20, messages=turns, extra_body={"temperature": 0}
    )
    (said,) = message.content
    assert said.type == "text"
    usage = message.usage
    return said.text, usage.input_tokens + (usage.cache_read_input_tokens or 0), counted.input_tokens


def base64_block(kind: str, media_type: str, content: bytes) -> dict[str, object]:
    _, _, data = data_url(content, media_type).partition(",")
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}


async def test_all_that_holds_pictures_is_seen_in_its_order(sdk: AsyncOpenAI, served: RunningKernel) -> None:
    two = user(image_part(png(plain("red"))), image_part(png(text("42"))), "What color is the first image?")
    pages = data_url(pdf([plain("red"), plain("blue"), plain("green")]), "application/pdf")
    document = {"type": "file", "file": {"file_data": pages, "filename": "report.pdf"}}
    shown = [{"type": "input_image", "image_url": data_url(png(one))} for one in (plain("red"), text("42"))]
    asked = {"type": "input_text", "text": "What color is the first image?"}
    turned = [image_part(jpeg(text("427"), orientation)) for orientation in (3, 6, 8)]

    first = await sdk.responses.create(
        model=VISION_MODEL, input=[{"role": "user", "content": [*shown, asked]}], temperature=0
    )
    second = await sdk.responses.create(
        model=VISION_MODEL,
        previous_response_id=first.id,
        input="What number is in the second image?",
        temperature=0,
    )
    said = await answer(sdk, two)
    later = user("What number is in the second image?")
    assert (first.output_text, second.output_text) == ("red", "42")
    assert said == "red"
    assert await answer(sdk, two, {"role": "assistant", "content": said}, later) == "42"
    assert await answer(sdk, user(document, "What color is the first image?")) == "red"
    assert await answer(sdk, user(document, "What color is the second image?")) == "blue"
    assert [await answer(sdk, user(picture, "What number is written?")) for picture in turned] == ["427"] * 3
    async with AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0, timeout=60) as anthropic:
        card = base64_block("image", "image/png", png(CARD))
        report = base64_block("document", "application/pdf", pdf([plain("red"), plain("blue")]))
        row, told, counted = await ask_anthropic(anthropic, card, question="Which row is red?")
        color, *_ = await ask_anthropic(anthropic, report, question="What color is the second image?")
    assert (row, color, told) == ("Latency", "blue", counted)


async def test_many_at_once_see_their_own_picture_and_a_bad_one_is_an_error(sdk: AsyncOpenAI) -> None:
    colors = ["red", "green", "blue", "yellow"]
    pictures = [image_part(png(shapes((color, "circle")))) for color in colors]
    bad = image_part(png(CARD)[:200])
    *said, error = await asyncio.gather(
        *(answer(sdk, user(picture, "What color is the circle?")) for picture in [*pictures, bad]),
        return_exceptions=True,
    )

    assert said == colors
    assert isinstance(error, BadRequestError)
    assert error.param == "messages[0].content[0].image_url"


async def test_a_worker_killed_while_it_looks_leaves_others_alone(
    sdk: AsyncOpenAI, served: RunningKernel
) -> None:
    """A text stream of another model goes on; the model comes back by itself."""
    words = " ".join(str(i) for i in range(300))
    stream = await sdk.chat.completions.create(
        model="echo/slow", messages=[{"role": "user", "content": words}], stream=True
    )
    looking = [
        asyncio.create_task(answer(sdk, user(image_part(png(CARD)), "Describe the image."))) for _ in range(4)
    ]
    said = ""
    async for chunk in stream:
        said += chunk.choices[0].delta.content or ""
        if len(said) > 50 and looking:
            os.kill(await served.worker_pid(VISION_MODEL), signal.SIGKILL)
            await asyncio.gather(*looking, return_exceptions=True)
            looking = []

    assert said == words
    assert await answer(sdk, user(image_part(png(CARD)), "Which row is red?")) == "Latency"
