"""faults.md H1: a page whose name comes to mean our address, in a real browser, gets nothing from mlxd.

The browser asks a proxy, which plays the name server: until the page is there its name leads to the
attacker, and from then on to mlxd, whose port is the page's own. For the browser all is one origin.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from browser import needs_chromium, opened, served
from http_harness import MODEL, Door, open_door
from yarl import URL

pytestmark = needs_chromium

NAME = "rebound.test"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]})
PAGE = """<!doctype html><title>evil</title><script>
const ask = (path, options) => fetch(path, options).then(reply => reply.status);
async function attack() {
    const told = {
        models: await ask("/v1/models"),
        chat: await ask("/v1/chat/completions",
            {method: "POST", body: JSON.stringify(BODY), headers: {"Content-Type": "application/json"}}),
        health: await ask("/health"),
    };
    await fetch("/told", {method: "POST", body: JSON.stringify(told)});
}
attack();
</script>"""


class Rebinding:
    """A proxy behind which a name leads to a page, and then to a door."""

    def __init__(self, door: Door, session: aiohttp.ClientSession) -> None:
        self._door = URL(door.url)
        self._session = session
        self.url = ""
        self.page = f"http://{NAME}:{self._door.port}/"
        self.told: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """The page at first; else what the door says to the very same request."""
        if request.url.host != NAME:
            return web.Response(status=502)
        if request.path == "/":
            return web.Response(text=PAGE.replace("BODY", BODY), content_type="text/html")
        if request.path == "/told":
            self.told.set_result(json.loads(await request.read()))
            return web.Response()
        async with self._session.request(
            request.method,
            self._door.with_path(request.path),
            headers={name: value for name, value in request.headers.items() if name != "Proxy-Connection"},
            data=await request.read(),
        ) as reply:
            return web.Response(status=reply.status, body=await reply.read())


@asynccontextmanager
async def rebinding(door: Door) -> AsyncIterator[Rebinding]:
    """On a free port."""
    async with aiohttp.ClientSession() as session:
        proxy = Rebinding(door, session)
        async with served(proxy.answer) as port:
            proxy.url = f"http://127.0.0.1:{port}"
            yield proxy


async def attack(door: Door, profile: Path) -> dict[str, int]:
    """The status that the page got of each of its requests."""
    async with rebinding(door) as proxy, opened(proxy.page, profile, f"--proxy-server={proxy.url}"):
        return await proxy.told


async def test_a_page_whose_name_was_rebound_gets_nothing(tmp_path: Path) -> None:
    async with open_door() as door:
        told = await attack(door, tmp_path / "profile")

    assert told == {"models": 403, "chat": 403, "health": 403}
    assert door.client.submitted == []


async def test_a_name_of_ours_would_get_all(tmp_path: Path) -> None:
    """Which shows that the page does try."""
    async with open_door(allowed_hosts=[NAME]) as door:
        told = await attack(door, tmp_path / "profile")

    assert told == {"models": 200, "chat": 200, "health": 200}
    assert len(door.client.submitted) == 1
