"""Keystrokes that cancel each other, with a real kernel and worker: few tokens are made for the dead."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from running import RunningKernel

from plugins.client import KernelClient, Submission, Update
from plugins.stdio.connection import Connection
from plugins.stdio.lsp.personality import LspPersonality
from transports.errors import MlxdError
from transports.messages import Delta, Done
from transports.settings import Settings, StdioSettings

NUM_KEYSTROKES = 200
MAX_TOKENS = 64
# Of the tokens that the cancelled requests were to have.
MAX_DEAD_SHARE = 0.05
TIMEOUT_S = 30.0
URI = "file:///a.py"


class Worker:
    """Between the personality and a real connection: sees what comes for each request, also for dead ones."""

    def __init__(self, client: KernelClient) -> None:
        self._client = client
        self.ends: list[Done] = []
        self.first_text = asyncio.Event()

    async def client(self) -> Worker:
        return self

    def start(self) -> None:
        """It is connected."""

    def submit(self, **fields: Any) -> Submission:
        submission = self._client.submit(**fields)
        put = submission.put

        def seen(update: Update | MlxdError) -> None:
            put(update)
            match update:
                case Delta():
                    self.first_text.set()
                case Done():
                    self.ends.append(update)

        submission.put = seen  # type: ignore[method-assign]
        return submission


class Editor:
    """Types, and has the answers."""

    def __init__(self, worker: Worker) -> None:
        self.answers: list[dict[str, Any]] = []
        settings = Settings()
        self.connection = Connection(
            self,
            lambda connection, _method, _params: LspPersonality(connection, worker, settings),  # type: ignore[arg-type]
            StdioSettings(),
        )

    def send(self, message: bytes) -> None:
        self.answers.append(json.loads(message))

    async def room(self) -> None:
        """There always is."""

    def say(self, method: str, params: object, **id_: int) -> None:
        message = {"jsonrpc": "2.0", **id_, "method": method, "params": params}
        self.connection.receive(json.dumps(message).encode())


async def test_little_is_computed_for_cancelled_keystrokes(kernel: RunningKernel) -> None:
    """The next key is pressed when the first token of the answer to the last one is there.

    Half of the requests are cancelled by the editor, half by the next one alone.
    """
    await kernel.load("echo/slow")
    worker = Worker(kernel.client)
    editor = Editor(worker)
    options = {"model": "echo/slow", "maxTokens": MAX_TOKENS}
    editor.say("initialize", {"capabilities": {}, "initializationOptions": options}, id=0)
    text = "word " * MAX_TOKENS
    editor.say("textDocument/didOpen", {"textDocument": {"uri": URI, "text": text}})
    async with asyncio.timeout(TIMEOUT_S):
        for number in range(1, NUM_KEYSTROKES + 1):
            worker.first_text.clear()
            where = {"line": 0, "character": len(text) + number - 1}
            change = {"range": {"start": where, "end": where}, "text": "x"}
            editor.say("textDocument/didChange", {"textDocument": {"uri": URI}, "contentChanges": [change]})
            if number % 2 == 0:
                editor.say("$/cancelRequest", {"id": number - 1})
            after = {"line": 0, "character": len(text) + number}
            params = {"textDocument": {"uri": URI}, "position": after}
            editor.say("textDocument/inlineCompletion", params, id=number)
            await worker.first_text.wait()
        while len(worker.ends) < NUM_KEYSTROKES:
            await asyncio.sleep(0.01)
    await editor.connection.close()

    dead = [end.usage.completion_tokens for end in worker.ends if end.finish_reason == "cancelled"]
    assert len(dead) == NUM_KEYSTROKES - 1
    assert sum(dead) <= MAX_DEAD_SHARE * MAX_TOKENS * len(dead), f"{sum(dead)} tokens"
    codes = {one["id"]: one["error"]["code"] for one in editor.answers if "error" in one}
    assert codes == dict.fromkeys(range(1, NUM_KEYSTROKES), -32800)
    assert len(editor.answers) == NUM_KEYSTROKES + 1
