"""A real Chromium that opens one page, and servers for it; both stay until the block is left."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@asynccontextmanager
async def opened(url: str, profile: Path, *options: str) -> AsyncIterator[None]:
    """Chromium with the page of *url*, at most a minute.

    Args:
        profile: A folder of its own.
        options: More of its command line.
    """
    process = await asyncio.create_subprocess_exec(
        *(CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", f"--user-data-dir={profile}", "--remote-debugging-port=0"),
        *options,
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            yield
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def served(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[int]:
    """A server of this machine that answers so; its port."""
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
