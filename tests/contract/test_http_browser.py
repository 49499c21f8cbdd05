"""faults.md H3: a page of another origin in a real browser can make mlxd do nothing, key or no key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from browser import needs_chromium, opened, served
from http_harness import MODEL, Door, open_door

pytestmark = needs_chromium
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]})
# Each way that needs no leave: a page sends it, and the browser only keeps the answer from it.
PAGE = """<!doctype html><title>evil</title><body><script>
const door = "DOOR", body = JSON.stringify(BODY), chat = door + "/v1/chat/completions";
const told = {};
const post = (name, options) => fetch(chat, {method: "POST", body, ...options})
    .then(reply => told[name] = reply.type + reply.status, error => told[name] = "failed");
const first = (target, ...events) => new Promise(ended =>
    events.forEach(event => target.addEventListener(event, () => ended(event))));
async function attack() {
    await post("no-cors", {mode: "no-cors"});
    await post("plain text", {headers: {"Content-Type": "text/plain"}});
    await post("json", {headers: {"Content-Type": "application/json"}});
    const image = new Image(); image.src = door + "/v1/models";
    told["image"] = await first(image, "load", "error");
    const source = new EventSource(chat);
    told["event source"] = await first(source, "open", "error"); source.close();
    const socket = new WebSocket(chat.replace("http", "ws"));
    told["socket"] = await first(socket, "open", "error");
    navigator.sendBeacon(chat, new Blob([body], {type: "text/plain"}));
    const frame = document.createElement("iframe"); frame.name = "frame"; document.body.append(frame);
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: chat, target: "frame", enctype: "text/plain"});
    const field = document.createElement("input");
    field.name = body.slice(0, -1) + ',"x":"'; field.value = '"}';
    form.append(field); document.body.append(form);
    const loaded = first(frame, "load"); form.submit(); await loaded;
    await fetch("/told", {method: "POST", body: JSON.stringify(told)});
}
attack();
</script>"""


class Origin:
    """A server of another origin, whose page attacks a door and tells how that went."""

    def __init__(self) -> None:
        self.url = ""
        self.door = ""
        self.told: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """The page, and where it tells."""
        if request.path == "/told":
            self.told.set_result(await request.json())
        page = PAGE.replace("DOOR", self.door).replace("BODY", BODY) if request.path == "/" else ""
        return web.Response(text=page, content_type="text/html")


@asynccontextmanager
async def origin() -> AsyncIterator[Origin]:
    """On a free port."""
    server = Origin()
    async with served(server.answer) as port:
        server.url = f"http://localhost:{port}"
        yield server


async def attack(server: Origin, door: Door, profile: Path) -> dict[str, str]:
    """Open the page in Chromium: what each way came to, as the page saw it."""
    server.door = door.url
    async with opened(f"{server.url}/", profile):
        return await server.told


async def test_a_strange_page_can_make_it_do_nothing(tmp_path: Path) -> None:
    async with origin() as server, open_door() as door:
        told = await attack(server, door, tmp_path / "profile")

    assert door.client.submitted == []
    assert told == {
        "no-cors": "opaque0",
        "plain text": "failed",
        "json": "failed",
        "image": "error",
        "event source": "error",
        "socket": "error",
    }


async def test_with_leave_the_same_page_gets_what_it_may(tmp_path: Path) -> None:
    """Which shows that the page does try."""
    async with origin() as server, open_door(allowed_origins=[server.url]) as door:
        told = await attack(server, door, tmp_path / "profile")

    assert told["json"] == "cors200"
    assert told["plain text"] == "cors415"
    assert len(door.client.submitted) == 1
