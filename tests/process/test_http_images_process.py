"""Pictures from HTTP to a worker and back, with real processes: what arrives, and what is left behind."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import ClientSession
from openai import AsyncOpenAI
from pictures import data_url, pdf, plain, png
from running import RunningKernel, StartKernel

from transports.settings import HttpSettings

MODEL = "echo/eyes"
CHAT = "/v1/chat/completions"


def image_part(picture: bytes) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": data_url(picture)}}


def chat(*parts: object, model: str = MODEL, **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": [*parts]}], **fields}


async def ask(session: ClientSession, *parts: object, **fields: Any) -> tuple[int, str]:
    """Status, and the answer or the code of the error."""
    async with session.post(CHAT, json=chat(*parts, **fields)) as response:
        body = await response.json()
        good = response.status == 200
        return response.status, body["choices"][0]["message"]["content"] if good else body["error"]["code"]


def shared_files(kernel: RunningKernel) -> list[Path]:
    """Pixels that some frontend has left in the shared folder."""
    assert kernel.client.welcome
    return [path for path in Path(kernel.client.welcome.shared_dir).rglob("*") if path.is_file()]


async def test_the_worker_sees_the_pixels_that_were_sent(http_kernel: RunningKernel) -> None:
    red, blue = png(plain("red", (32, 16))), png(plain("blue", (500, 400)))
    pages = pdf([plain("green", (60, 40))] * 3)
    document = {"type": "file", "file": {"file_data": data_url(pages, "application/pdf")}}
    async with ClientSession(http_kernel.url) as session:
        both = await ask(session, {"type": "text", "text": "Look:"}, image_part(red), image_part(blue))
        status, three = await ask(session, document)

    assert both == (200, "Look: 32x16:dc143c-dc143c 500x400:1e50dc-1e50dc")
    assert (status, len(three.split())) == (200, 3)
    assert shared_files(http_kernel) == []


async def test_the_example_of_openai_works(http_kernel: RunningKernel) -> None:
    base64_image = base64.b64encode(png(plain("red"))).decode()
    async with AsyncOpenAI(base_url=f"{http_kernel.url}/v1", api_key="none", max_retries=0) as sdk:
        response = await sdk.chat.completions.create(
            model=MODEL,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is in this image?"},
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/jpeg;base64,{base64_image}"},
                        },
                    ],
                }
            ],
        )

    assert response.choices[0].message.content == "What is in this image? 224x224:dc143c-dc143c"


async def test_a_text_model_says_who_can_see(http_kernel: RunningKernel) -> None:
    async with (
        ClientSession(http_kernel.url) as session,
        session.post(CHAT, json=chat(image_part(png(plain("red"))), model="echo/plain")) as response,
    ):
        error = (await response.json())["error"]

    assert (response.status, error["param"]) == (400, "messages[0].content[0].image_url")
    assert MODEL in error["message"]


async def test_a_decoder_that_was_killed_is_replaced(http_kernel: RunningKernel) -> None:
    picture = image_part(png(plain("red")))
    async with ClientSession(http_kernel.url) as session:
        assert (await ask(session, picture))[0] == 200
        (decoder,) = _decoders(http_kernel)
        os.kill(decoder, signal.SIGKILL)
        statuses = [(await ask(session, picture))[0] for _ in range(2)]

    assert statuses == [200, 200]
    assert _decoders(http_kernel) != [decoder]


async def test_who_leaves_leaves_no_pixels(start_kernel: StartKernel) -> None:
    """While the request waits for the only slot of its worker."""
    kernel = await start_kernel(http=HttpSettings(port=0))
    # Over media.shared_memory_bytes.
    picture = image_part(png(plain("red", (600, 600))))
    words = {"type": "text", "text": "word " * 2000}
    async with ClientSession(kernel.url) as session:
        asking = asyncio.create_task(ask(session, words, picture, model="echo/narrow-eyes"))
        waiting = asyncio.create_task(ask(session, words, picture, model="echo/narrow-eyes"))
        async with asyncio.timeout(10):
            while len(shared_files(kernel)) < 2:
                await asyncio.sleep(0.01)
        for task in (asking, waiting):
            task.cancel()
        async with asyncio.timeout(10):
            while shared_files(kernel):
                await asyncio.sleep(0.01)


def _decoders(kernel: RunningKernel) -> list[int]:
    return [
        process.pid
        for process in psutil.Process(kernel.pid).children(recursive=True)
        if any("decoder" in word for word in process.cmdline())
    ]


@pytest.fixture(autouse=True)
def narrow_eyes(home: Path) -> None:
    """An echo model that sees, takes one request at a time, and takes its time."""
    folder = home / "models" / "echo" / "narrow-eyes"
    folder.mkdir(parents=True)
    fields = '"num_slots": 1, "step_s": 0.01, "modalities": ["text", "image"]'
    (folder / "config.json").write_text(f'{{"model_type": "echo", {fields}}}')
