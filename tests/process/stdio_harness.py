"""Speaks with `mlxd stdio` as an editor's process does."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli_harness import MLXD, TIMEOUT_S, environment


class Program:
    """A running `mlxd stdio`, spoken to in lines."""

    def __init__(self, home: Path, *flags: str, **more: str) -> None:
        self.process = subprocess.Popen(
            [MLXD, "stdio", *flags],
            env=environment(home, **more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin = self.process.stdin
        self.stdout = self.process.stdout
        self._read = bytearray()
        self._num_asked = 0

    def send(self, message: object) -> None:
        """Write a message in a line."""
        self.stdin.write(json.dumps(message).encode() + b"\n")

    def request(self, method: str, **params: object) -> int:
        """Ask for something; its id."""
        self._num_asked += 1
        self.send({"jsonrpc": "2.0", "id": self._num_asked, "method": method, "params": params})
        return self._num_asked

    def notify(self, method: str, **params: object) -> None:
        """Say something that has no answer."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, method: str, **params: object) -> Any:
        """Ask, and wait for the answer: a result, or an error."""
        return self.answer(self.request(method, **params))

    def answer(self, id_: int | None) -> Any:
        """Wait for the answer with this id; what comes before is dropped."""
        while (message := self.message()).get("id", ()) != id_ or "method" in message:
            pass
        return message["result"] if "result" in message else message["error"]

    def message(self) -> Any:
        """The next message, whatever it is."""
        return json.loads(self.line())

    def line(self) -> bytes:
        """The next line of stdout."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while (end := self._read.find(b"\n")) < 0:
            if not select.select([self.stdout], [], [], max(deadline_s - time.monotonic(), 0))[0]:
                raise AssertionError(f"nothing came after {bytes(self._read)!r}")
            chunk = os.read(self.stdout.fileno(), 65536)
            assert chunk, "stdout has ended"
            self._read += chunk
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        return line

    def end(self) -> tuple[int, bytes, str]:
        """Close stdin; exit code, the rest of stdout, and stderr."""
        out, error = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, bytes(self._read) + out, error.decode()


@contextmanager
def editor(home: Path, *flags: str, **more: str) -> Iterator[Program]:
    """`mlxd stdio` for the length of the block."""
    program = Program(home, *flags, **more)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()


def texts(chunks: Sequence[Any]) -> str:
    """What chunks of a chat say together."""
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
