"""The LSP personality behind its connection, with an editor and a kernel played by the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from http_harness import FakeClient, say

from plugins.stdio.connection import Connection
from plugins.stdio.lsp.personality import LspPersonality
from transports.messages import Progress
from transports.reports import Admin, DoneReply
from transports.settings import ModelsSettings, Settings, StdioSettings

MODEL = "demo/model"
URI = "file:///a.py"
TIMEOUT_S = 10.0
INLINE = "textDocument/inlineCompletion"
COMPLETION = "textDocument/completion"
SETTINGS = Settings(models=ModelsSettings(default=MODEL))


class LoadingClient(FakeClient):
    """A kernel whose loads are told by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[tuple[str, Callable[[Progress], None], asyncio.Future[DoneReply]]] = []

    async def admin(
        self, operation: str, args: Admin, _: type, on_progress: Callable[[Progress], None]
    ) -> object:
        assert operation == "load"
        future: asyncio.Future[DoneReply] = asyncio.get_running_loop().create_future()
        self.loads.append((args.model, on_progress, future))
        self._notify()
        return await future


class FakeLink:
    """Stands for KernelLink: connected at once."""

    def __init__(self, client: FakeClient) -> None:
        self._client = client
        self.num_starts = 0

    def start(self) -> None:
        self.num_starts += 1

    async def client(self) -> FakeClient:
        return self._client


class Editor:
    """The editor's end: sends messages, and has those that came."""

    def __init__(self) -> None:
        self.client = LoadingClient()
        self.client.script = say("x = 1")
        self.link = FakeLink(self.client)
        self.connection = Connection(self, self._choose, StdioSettings())  # type: ignore[arg-type]
        self.received: list[dict[str, Any]] = []
        self._arrived = asyncio.Event()
        self._num_requests = 0

    # --- the outlet -----------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        self.received.append(json.loads(message))
        self._arrived.set()

    async def room(self) -> None:
        """There always is."""

    def _choose(self, connection: Connection, _method: str, _params: object) -> LspPersonality:
        return LspPersonality(connection, self.link, SETTINGS)  # type: ignore[arg-type]

    # --- the editor -----------------------------------------------------------------------

    def notify(self, method: str, params: object = None) -> None:
        self._write({"method": method, "params": params})

    def request(self, method: str, params: object = None) -> int:
        """Send a request; its id."""
        self._num_requests += 1
        self._write({"id": self._num_requests, "method": method, "params": params})
        return self._num_requests

    def answer(self, id_: object, result: object) -> None:
        """Answer a request of the server."""
        self._write({"id": id_, "result": result})

    async def ask(self, method: str, params: object = None) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        return await self.answer_to(self.request(method, params))

    async def answer_to(self, id_: int) -> dict[str, Any]:
        await self.wait_for(lambda: self.answers(id_))
        return self.answers(id_)[0]

    def answers(self, id_: int) -> list[dict[str, Any]]:
        return [one for one in self.received if one.get("id") == id_ and "method" not in one]

    def told(self, method: str) -> list[dict[str, Any]]:
        """Notifications and requests of the server."""
        return [one for one in self.received if one.get("method") == method]

    async def wait_for(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not is_so():
                self._arrived.clear()
                await self._arrived.wait()

    async def initialize(self, capabilities: object = None, options: object = None) -> dict[str, Any]:
        reply = await self.ask(
            "initialize",
            {"processId": None, "capabilities": capabilities or {}, "initializationOptions": options},
        )
        self.notify("initialized", {})
        return reply

    def open(self, text: str, uri: str = URI) -> None:
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def _write(self, message: dict[str, object]) -> None:
        self.connection.receive(json.dumps({"jsonrpc": "2.0", **message}).encode())


def at(line: int, character: int, uri: str = URI, **fields: object) -> dict[str, object]:
    """The params of a completion."""
    return {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}, **fields}


@asynccontextmanager
async def editing(
    text: str = "", capabilities: object = None, options: object = None
) -> AsyncIterator[Editor]:
    """An initialized editor with one document."""
    editor = Editor()
    await editor.initialize(capabilities, options)
    editor.open(text)
    try:
        yield editor
    finally:
        await editor.connection.close()
