"""Open WebUI from its package, untouched, and a headless browser that uses it as a person does."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession
from PIL import Image

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

# Its own virtual environment is not ours: it pulls hundreds of packages.
COMMAND = os.environ.get("MLXD_TEST_OPEN_WEBUI") or shutil.which("open-webui")
CHROMIUM = shutil.which("chromium")
# Where pictures of it for the documentation are written; none by default.
SCREENSHOTS = os.environ.get("MLXD_TEST_SCREENSHOTS")

# It imports torch and makes its database.
START_TIMEOUT_S = 600
# For a page, and for an answer of a model on two cores that others use too.
PAGE_TIMEOUT_S = 90
VIEWPORT = {"width": 1000, "height": 640}
# Chromium runs as root where tests do, and looks for its maker's hosts otherwise.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Collects what the answer was, each time the page changes.
WATCH_ANSWER = """() => {
    window.seen = [];
    new MutationObserver(() => {
        const text = document.querySelector('#response-content-container')?.innerText.trim();
        if (text && window.seen.at(-1) !== text) window.seen.push(text);
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


@dataclass
class OpenWebUi:
    """A running Open WebUI and the browser that is logged in to it."""

    url: str
    context: BrowserContext

    @contextlib.asynccontextmanager
    async def chat(self, model: str = "") -> AsyncIterator[Chat]:
        """A new chat in a tab of its own; without *model* with the one that it chooses."""
        page = await self.context.new_page()
        page.set_default_timeout(PAGE_TIMEOUT_S * 1000)
        # It tells what is new, the first time.
        news = page.get_by_role("button", name="Okay, Let's Go!")
        await page.add_locator_handler(news, news.click)
        await page.goto(f"{self.url}/?model={model}" if model else self.url)
        await page.locator("#chat-input").wait_for()
        yield Chat(page)
        await page.close()


@dataclass
class Chat:
    """One chat, in a tab."""

    page: Page

    async def ask(self, text: str) -> None:
        """Send a message."""
        await self.page.locator("#chat-input").fill(text)
        await self.page.locator("#send-message-button").click()

    async def answer(self) -> str:
        """The text of the first answer, once it has ended well."""
        await self.page.get_by_label("Info", exact=True).first.wait_for()
        return (await self.page.locator("#response-content-container").first.inner_text()).strip()

    async def attach(self, file: Path) -> None:
        """Choose a file as with the button for it."""
        await self.page.locator("input[type=file]").first.set_input_files(file)

    async def open_models(self) -> None:
        """Open the list of models."""
        await self.page.locator("#model-selector-model-button").click()
        await self.page.get_by_role("option").first.wait_for()

    async def picture(self, name: str) -> None:
        """Write what is to be seen to a file, if the run is to make pictures."""
        if SCREENSHOTS:
            shot = await self.page.screenshot(animations="disabled")
            # A loop that stands still does not answer the kernel, which then takes it for dead.
            await asyncio.to_thread(_write_webp, shot, Path(SCREENSHOTS) / f"{name}.webp")


@contextlib.asynccontextmanager
async def running_open_webui(folder: Path, api_url: str, **settings: str) -> AsyncIterator[OpenWebUi]:
    """A fresh one that knows *api_url* and nothing else, and a browser.

    Args:
        folder: Everything that it keeps.
        settings: Its environment variables, besides those that keep it off the network.
    """
    from playwright.async_api import async_playwright

    port = _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DATA_DIR": str(folder),
        # Of one user, who is not asked for a password.
        "WEBUI_AUTH": "False",
        "WEBUI_SECRET_KEY": "of a test",
        "OFFLINE_MODE": "True",
        "HF_HUB_OFFLINE": "1",
        "ANONYMIZED_TELEMETRY": "False",
        "ENABLE_OLLAMA_API": "False",
        "OPENAI_API_BASE_URL": api_url,
        "OPENAI_API_KEY": "none",
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        *(str(COMMAND), "serve", "--host", "127.0.0.1", "--port", str(port)),
        cwd=folder,
        env=environment,
        stdout=(folder / "log").open("wb"),
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await _until_healthy(url, process, folder / "log")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*CHROMIUM_FLAGS], timeout=PAGE_TIMEOUT_S * 1000
            )
            context = await browser.new_context(viewport=VIEWPORT, locale="en-US")
            yield OpenWebUi(url, context)
            await browser.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _write_webp(png: bytes, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(png)).convert("RGB").save(file, quality=85, method=6)


async def _until_healthy(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(START_TIMEOUT_S), ClientSession() as session:
        while True:
            with contextlib.suppress(ClientError):
                async with session.get(f"{url}/health") as response:
                    if response.status == 200:
                        return
            assert process.returncode is None, log.read_text()[-2000:]
            await asyncio.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
