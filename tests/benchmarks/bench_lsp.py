"""Inline completion as an editor has it: from the keystroke to the answer, and what is computed in vain."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from support import ECHO, ROOT, Figure, echo_home, percentile, running_kernel, temporary_home

sys.path.append(str(ROOT / "tests"))
from typist import Typist  # Shared with the tests.

MLXD = str(Path(sys.executable).with_name("mlxd"))
URI = "file:///a.py"
# A document of some length: 2,000 lines, and the cursor in the middle.
LINE = "    value = compute(value, 12)\n"
NUM_LINES = 2000
# One token of the echo model, so that it needs no time.
MAX_TOKENS = 1
NUM_KEYS = 200
# A model that decodes 100 tokens a second, asked for so many each time.
STEP_S, WANTED_TOKENS = 0.01, 64


class Editor:
    """The editor's end of the pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def say(self, method: str, params: object, **id_: int) -> None:
        body = json.dumps({"jsonrpc": "2.0", **id_, "method": method, "params": params}).encode()
        self._in.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async def answer(self, id_: int) -> dict[str, object]:
        while True:
            head = await self._out.readuntil(b"\r\n\r\n")
            size = int(head.partition(b":")[2].split(b"\r\n")[0])
            message = json.loads(await self._out.readexactly(size))
            if message.get("id") == id_ and "method" not in message:
                return dict(message)


async def _keystrokes_ms(editor: Editor, count: int) -> list[float]:
    options = {"model": ECHO, "maxTokens": MAX_TOKENS}
    editor.say("initialize", {"capabilities": {}, "initializationOptions": options}, id=0)
    await editor.answer(0)
    editor.say("initialized", {})
    editor.say("textDocument/didOpen", {"textDocument": {"uri": URI, "text": LINE * NUM_LINES}})
    taken_ms = []
    for number in range(1, count + 1):
        line = NUM_LINES // 2
        where = {"line": line, "character": number - 1}
        change = {"range": {"start": where, "end": where}, "text": "x"}
        asked = {"textDocument": {"uri": URI}, "position": {"line": line, "character": number}}
        started_s = time.perf_counter()
        editor.say("textDocument/didChange", {"textDocument": {"uri": URI}, "contentChanges": [change]})
        editor.say("textDocument/inlineCompletion", asked, id=number)
        answer = await editor.answer(number)
        taken_ms.append((time.perf_counter() - started_s) * 1e3)
        if "result" not in answer:
            raise RuntimeError(f"no completion: {answer}")
    return taken_ms[count // 10 :]


async def _pipes(count: int) -> list[float]:
    with temporary_home() as folder:
        home = echo_home(folder)
        async with running_kernel(home):
            process = await asyncio.create_subprocess_exec(
                *(MLXD, "stdio", "--lsp"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "MLXD_HOME": str(home)},
            )
            try:
                return await _keystrokes_ms(Editor(process), count)
            finally:
                if process.stdin:
                    process.stdin.close()
                await process.wait()


async def _dead_share() -> float:
    """Of the tokens that cancelled requests wanted, how many were computed."""
    with temporary_home() as folder:
        async with running_kernel(echo_home(folder, step_s=STEP_S)) as (_, client, _):
            typed = await Typist(client).type_keys(ECHO, NUM_KEYS, WANTED_TOKENS)
    return sum(typed.dead) / (WANTED_TOKENS * len(typed.dead))


async def measure(count: int) -> list[Figure]:
    """*count* keystrokes, one after the other; then 200 that cancel each other."""
    taken_ms = await _pipes(count)
    name, detail = (
        "inline completion over stdio, keystroke to answer",
        "echo worker, a document of 2,000 lines",
    )
    return [
        Figure(f"{name}, p50", percentile(taken_ms, 50), "ms", ("<=", 3), detail),
        Figure(f"{name}, p99", percentile(taken_ms, 99), "ms"),
        Figure(
            f"tokens computed for {NUM_KEYS - 1} cancelled keystrokes",
            100 * await _dead_share(),
            "%",
            ("<=", 5),
            f"of {WANTED_TOKENS} each, 100 tokens a second, the next key at the first token",
        ),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)):
        print(figure)
