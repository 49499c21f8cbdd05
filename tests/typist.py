"""Types into a document and asks for a completion at each key, with the LSP personality and a real kernel."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from plugins.client import KernelClient, Submission, Update
from plugins.stdio.connection import Connection
from plugins.stdio.lsp.personality import LspPersonality
from transports.errors import MlxdError
from transports.messages import Delta, Done
from transports.settings import Settings, StdioSettings

URI = "file:///a.py"


@dataclass
class Typed:
    """What came of it."""

    # The good ends of requests, dead ones too.
    ends: list[Done] = field(default_factory=list)
    # What the editor was answered.
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def dead(self) -> list[int]:
        """Tokens that were computed for each cancelled request."""
        return [end.usage.completion_tokens for end in self.ends if end.finish_reason == "cancelled"]


class Typist:
    """An editor, and what stands between its personality and the kernel: it sees what comes for the dead."""

    def __init__(self, client: KernelClient) -> None:
        self.typed = Typed()
        self._client = client
        self._first_text = asyncio.Event()
        settings = Settings()
        self._connection = Connection(
            self,
            lambda connection, _method, _params: LspPersonality(connection, self, settings),  # type: ignore[arg-type]
            StdioSettings(),
        )

    async def type_keys(self, model: str, num_keys: int, max_tokens: int) -> Typed:
        """Press a key whenever the first token of the answer to the last one is there, and wait for all ends.

        Each key cancels the request of the one before; every other request is cancelled by name, too.
        """
        options = {"model": model, "maxTokens": max_tokens}
        self._say("initialize", {"capabilities": {}, "initializationOptions": options}, id=0)
        text = "word " * max_tokens
        self._say("textDocument/didOpen", {"textDocument": {"uri": URI, "text": text}})
        for number in range(1, num_keys + 1):
            self._first_text.clear()
            where = {"line": 0, "character": len(text) + number - 1}
            change = {"range": {"start": where, "end": where}, "text": "x"}
            self._say("textDocument/didChange", {"textDocument": {"uri": URI}, "contentChanges": [change]})
            if number % 2 == 0:
                self._say("$/cancelRequest", {"id": number - 1})
            position = {"line": 0, "character": len(text) + number}
            params = {"textDocument": {"uri": URI}, "position": position}
            self._say("textDocument/inlineCompletion", params, id=number)
            await self._first_text.wait()
        while len(self.typed.ends) < num_keys:
            await asyncio.sleep(0.01)
        await self._connection.close()
        return self.typed

    # --- the kernel's side: what the personality takes for its link and its client -----------

    def start(self) -> None:
        """It is connected."""

    async def client(self) -> Typist:
        return self

    def submit(self, **fields: Any) -> Submission:
        submission = self._client.submit(**fields)
        put = submission.put

        def seen(update: Update | MlxdError) -> None:
            put(update)
            if isinstance(update, Delta):
                self._first_text.set()
            elif isinstance(update, Done):
                self.typed.ends.append(update)

        submission.put = seen  # type: ignore[method-assign]
        return submission

    # --- the editor's side: the outlet of the connection ----------------------------------

    def send(self, message: bytes) -> None:
        self.typed.answers.append(json.loads(message))

    async def room(self, _stall_timeout_s: float | None = None) -> None:
        """There always is."""

    def _say(self, method: str, params: object, **id_: int) -> None:
        message = {"jsonrpc": "2.0", **id_, "method": method, "params": params}
        self._connection.receive(json.dumps(message).encode())
