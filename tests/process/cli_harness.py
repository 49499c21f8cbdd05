"""Runs `mlxd` as a person does: in a shell's place, and in a terminal's."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from running import add_echo_models

MLXD = str(Path(sys.executable).with_name("mlxd"))
# Far longer than anything here takes; a test that waits for so long has failed.
TIMEOUT_S = 30.0
# An echo model that takes pictures.
EYES = "echo/eyes"


def environment(home: Path, **more: str) -> dict[str, str]:
    """No settings but those given, and no frontend."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLXD_")}
    return kept | {"MLXD_HOME": str(home), "MLXD_KERNEL_FRONTENDS": "", "TERM": "xterm-256color"} | more


def mlxd(home: Path, *args: str, stdin: str | bytes = b"", **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [MLXD, *args],
        env=environment(home, **more),
        input=given,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Server:
    """A running `mlxd serve`."""

    def __init__(self, home: Path, *args: str, **more: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [MLXD, "serve", *args],
            env=environment(home, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> str:
        """The line that says so."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line.startswith("mlxd is ready"):
            assert self.process.stderr
            raise AssertionError(f"{line!r}, {self.process.stderr.read()}")
        return line

    def wait_for_error(self, text: str) -> None:
        """Wait for a line on stderr that begins so."""
        assert self.process.stderr
        for line in self.process.stderr:
            if line.startswith(text):
                return
        raise AssertionError(f"ended without {text!r}")

    def press_ctrl_c(self) -> None:
        """What a terminal sends."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Wait for its end; exit code and stderr."""
        _, error = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, error


@contextmanager
def serving(home: Path, *args: str, **more: str) -> Iterator[Server]:
    """`mlxd serve` for the length of the block, ended whatever happens in it."""
    server = Server(home, *args, **more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.press_ctrl_c()
            server.press_ctrl_c()
        server.end()


@contextmanager
def serving_echoes(home: Path) -> Iterator[Path]:
    """An MLXD_HOME with the echo models of every test home; its kernel runs as long as the block."""
    add_echo_models(home)
    with serving(home, "--no-preload") as server:
        server.wait_until_ready()
        yield home


# Colours, cursor movements and modes: prompt_toolkit draws its prompt with them.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Terminal:
    """A command in a terminal of 80 columns: what it shows, and keys for it."""

    def __init__(self, home: Path, *args: str, **more: str) -> None:
        # Byte for byte, and without what only moves and colours.
        self.shown = ""
        self.text = ""
        self._read_to = 0
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(MLXD, [MLXD, *args], environment(home, PROMPT_TOOLKIT_NO_CPR="1", **more))  # noqa: S606

    def press(self, keys: str) -> None:
        """Type something; "\\r" is Enter, "\\x03" Ctrl-C, "\\x04" Ctrl-D."""
        os.write(self._fd, keys.encode())

    def wait_for(self, text: str) -> str:
        """Wait until *text* is shown after what was waited for before; all that was shown up to it."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while (found := self.text.find(text, self._read_to)) < 0:
            if not self._read(deadline_s - time.monotonic()):
                raise AssertionError(f"waited for {text!r}, got {self.text[self._read_to :]!r}")
        before = self.text[self._read_to : found + len(text)]
        self._read_to = found + len(text)
        return before

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read(TIMEOUT_S):
            pass
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self, timeout_s: float) -> bool:
        if timeout_s <= 0 or not select.select([self._fd], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # Linux: the other side is closed.
            return False
        self.shown += data.decode(errors="replace")
        self.text = _SEQUENCE.sub("", self.shown)
        return bool(data)


def processes_of(home: Path) -> list[str]:
    """Names of the living processes that belong to this MLXD_HOME: told of it, or working in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MLXD_HOME") == str(home) or process.cwd().startswith(str(home)):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
