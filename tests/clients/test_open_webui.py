"""Open WebUI from its package, in a headless Chromium, with both demo models: docs/open-webui.md.

    python3.11 -m venv ~/open-webui && ~/open-webui/bin/pip install open-webui==0.12.4
    uv pip install playwright && apt-get install chromium
    MLXD_TEST_OPEN_WEBUI=~/open-webui/bin/open-webui pytest tests/clients/test_open_webui.py

With MLXD_TEST_SCREENSHOTS=docs/open-webui it draws the pictures of that page anew.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

import pytest
import pytest_asyncio
from open_webui import CHROMIUM, COMMAND, PAGE_TIMEOUT_S, WATCH_ANSWER, OpenWebUi, running_open_webui
from pictures import png, shapes
from running import DEFAULT_MODEL, EMBEDDING_MODEL, VISION_MODEL, RunningKernel, add_model, run_kernel

from transports.settings import HttpSettings, KernelSettings, Settings

ABLE_MODEL = "echo/able"
# What a request has in it -> what a model answers that can do such things.
SCRIPT = {
    # Open WebUI's own prompts.
    "concise title": '{"title": "Capital of France"}',
    "broad tags": '{"tags": ["geography"]}',
    "naturally send next": '{"follow_ups": ["And of Spain?"]}',
    "Think first": "<think>Hm.</think>I have thought.",
    # One of its 36 tools.
    "What time is it": '<tool_call>{"name": "get_current_timestamp", "arguments": {}}</tool_call>',
}
# From the click, through Open WebUI, to mlxd's slot.
MAX_STOP_S = 1.0

pytestmark = [
    pytest.mark.models,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(COMMAND is None, reason="open-webui is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(
    vision_prepared: Path, embedding_prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningKernel]:
    """As it comes, with the demo models and one that thinks and calls tools."""
    home = tmp_path_factory.mktemp("home")
    add_model(home, ABLE_MODEL, script=SCRIPT)
    (home / "envs").symlink_to(vision_prepared / "envs")
    (home / "models" / "demo").symlink_to(embedding_prepared / "models" / "demo")
    # A browser and torch leave this process little time on two cores.
    limits = KernelSettings(frontends=("http",), dead_after_s=60.0)
    settings = Settings(kernel=limits, http=HttpSettings(port=0))
    running = await run_kernel(settings, home, (DEFAULT_MODEL, VISION_MODEL))
    yield running
    await running.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def webui(kernel: RunningKernel, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenWebUi]:
    """A fresh one that was told where mlxd is, and which models are for titles and for documents."""
    api = f"{kernel.url}/v1"
    documents = {
        "RAG_EMBEDDING_ENGINE": "openai",
        "RAG_OPENAI_API_BASE_URL": api,
        "RAG_OPENAI_API_KEY": "none",
        "RAG_EMBEDDING_MODEL": EMBEDDING_MODEL,
    }
    folder = tmp_path_factory.mktemp("open-webui")
    async with running_open_webui(folder, api, TASK_MODEL_EXTERNAL=ABLE_MODEL, **documents) as running:
        # The first page logs in and says so; the pictures are of the next ones.
        async with running.chat():
            pass
        yield running


async def test_models_are_listed_with_what_they_can_do(webui: OpenWebUi) -> None:
    """The first of /v1/models is for embeddings: it is not offered, and not chosen."""
    async with webui.chat() as chat:
        chosen = await chat.page.locator("#model-selector-model-button").inner_text()
        told = chat.page.get_by_text("Takes text. Context: 8192 tokens.")
        await told.first.wait_for()
        await chat.open_models()
        options = await chat.page.get_by_role("option").all()
        names = [await option.get_attribute("data-value") for option in options]
        told_of = [await option.text_content() or "" for option in options]
        await chat.picture("models")

    assert DEFAULT_MODEL == chosen.strip()
    assert [DEFAULT_MODEL, VISION_MODEL, ABLE_MODEL] == names
    assert "Takes text. Context: 8192 tokens." in told_of[0]
    assert "Takes text and pictures. Context: 4096 tokens." in told_of[1]
    assert "Takes text. Thinks. Calls tools." in told_of[2]


async def test_an_answer_streams_and_is_titled_tagged_and_counted(webui: OpenWebUi) -> None:
    """Had it sent its own tools, the model would have refused them."""
    from playwright.async_api import expect

    async with webui.chat(DEFAULT_MODEL) as chat:
        page = chat.page
        await page.evaluate(WATCH_ANSWER)
        await chat.ask("What is the capital of France?")
        answer = await chat.answer()
        seen = await page.evaluate("window.seen")
        usage = await page.locator("[id^=usage-]").first.text_content()
        await expect(page).to_have_title(re.compile("Capital of France"), timeout=PAGE_TIMEOUT_S * 1000)
        await page.get_by_text("And of Spain?").first.wait_for()
        await page.wait_for_function(
            """async () => {
                const chat = location.pathname.split('/').at(-1);
                const headers = {Authorization: `Bearer ${localStorage.token}`};
                const tags = await (await fetch(`/api/v1/chats/${chat}/tags`, {headers})).json();
                return tags.some((tag) => tag.name === 'geography');
            }"""
        )
        await page.get_by_label("Info", exact=True).first.hover()
        await page.get_by_text("completion_tokens: 8").last.wait_for()
        await chat.picture("chat")

    assert "The capital of France is Paris." == answer
    assert len(seen) > 3
    assert all(answer.startswith(text) for text in seen)
    assert "prompt_tokens: 37" in (usage or "")


async def test_a_picture_is_seen_and_a_text_model_says_that_it_sees_none(
    webui: OpenWebUi, tmp_path: Path
) -> None:
    file = tmp_path / "shapes.png"
    file.write_bytes(png(shapes(("red", "circle"), ("blue", "square"))))
    async with webui.chat(DEFAULT_MODEL) as chat:
        await chat.attach(file)
        await chat.page.get_by_text("do not support image inputs").wait_for()
    async with webui.chat(VISION_MODEL) as chat:
        await chat.attach(file)
        # Its preview, above the text.
        await chat.page.get_by_label("Remove file").first.wait_for()
        await chat.ask("What color is the circle?")
        answer = await chat.answer()
        await chat.picture("picture")
        await chat.open_models()
        await chat.page.get_by_role("option", name=DEFAULT_MODEL).click()
        await chat.ask("And the square?")
        refusal = chat.page.locator("#messages-container").get_by_text("takes text only")
        await refusal.wait_for()
        reason = await refusal.inner_text()
        await chat.picture("refusal")

    assert "red" == answer
    assert (
        f"messages[0].content[1].image_url: {DEFAULT_MODEL} takes text only; "
        f"models here that take images: {VISION_MODEL}" == reason.strip()
    )


async def test_thoughts_are_folded_and_tools_are_called(webui: OpenWebUi) -> None:
    async with webui.chat(ABLE_MODEL) as chat:
        await chat.ask("Think first.")
        thought = await chat.answer()
    async with webui.chat(ABLE_MODEL) as chat:
        await chat.ask("What time is it?")
        called = await chat.answer()

    assert re.fullmatch(r"Thought[\w ]*\s+I have thought\.", thought)
    # It made the call, and the model said its result back.
    assert re.search(r"get_current_timestamp\s.*current_iso", called, re.DOTALL)


async def test_a_document_is_searched_with_our_embeddings(
    webui: OpenWebUi, kernel: RunningKernel, tmp_path: Path
) -> None:
    file = tmp_path / "plants.txt"
    file.write_text("The heliotrope turns to the sun.\n")
    async with webui.chat(ABLE_MODEL) as chat:
        async with chat.page.expect_response(re.compile("/process/status")) as processed:
            await chat.attach(file)
        await (await processed.value).finished()
        await chat.ask("Which plant turns to the sun?")
        # The model says back what it was given.
        await chat.page.locator("#response-content-container", has_text="The heliotrope turns").wait_for()

    assert await num_started(kernel, EMBEDDING_MODEL) > 0


async def test_stop_frees_the_slot_within_a_second(webui: OpenWebUi, kernel: RunningKernel) -> None:
    async with webui.chat(DEFAULT_MODEL) as chat:
        await chat.ask("Write a long story about a fox and a crow.")
        # It has begun to answer.
        await chat.page.locator("#response-content-container", has_text=re.compile(r"\w+ \w+")).wait_for()
        running = await num_active(kernel, DEFAULT_MODEL)
        stop = chat.page.get_by_role("button", name="Stop")
        await stop.click()
        clicked = monotonic()
        async with asyncio.timeout(PAGE_TIMEOUT_S):
            while await num_active(kernel, DEFAULT_MODEL):
                await asyncio.sleep(0.01)
        took_s = monotonic() - clicked
        await stop.wait_for(state="hidden")

    assert 1 == running
    assert took_s < MAX_STOP_S


async def num_started(kernel: RunningKernel, model: str) -> int:
    """Requests that *model* has been given."""
    workers = (await kernel.client.status()).workers
    return sum(worker.num_started for worker in workers if worker.model == model)


async def num_active(kernel: RunningKernel, model: str) -> int:
    """Slots of *model* that are taken, as `mlxd ps` says."""
    workers = (await kernel.client.status()).workers
    return sum(worker.num_active for worker in workers if worker.model == model)
