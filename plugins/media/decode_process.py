"""One decode process as its frontend sees it: started when it is needed, disposable.

`run` blocks and belongs into a thread; `kill` may come from another one at any time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from plugins.media.decode_task import ANSWERS, BEGUN, Answer, Buffer, Task, read_message, write_message
from transports.errors import InsufficientStorage

# What Python and the system's loader need; no tokens and no keys.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# Memory that glibc keeps for the next picture: to take it from the system anew costs 5 ms a photograph.
KEPT_BYTES = str(32 * 1024 * 1024)
# Of the file in memory, likewise; most photographs are smaller.
KEPT_FILE_BYTES = 8 * 1024 * 1024
FIXED = {
    "PYTHONUTF8": "1",
    # glibc reserves address space for each arena, of which there is a limit.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": KEPT_BYTES,
    "MALLOC_TRIM_THRESHOLD_": KEPT_BYTES,
}


class DecoderDied(Exception):
    """The process did not answer.

    Args:
        status: Its exit code; -9 for signal 9.
    """

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status

    @property
    def how(self) -> str:
        """For people: "SIGSEGV", "exit code 1"."""
        return signal.Signals(-self.status).name if self.status < 0 else f"exit code {self.status}"


class DecodeProcess:
    """A decode process, or the place of one that was not needed yet."""

    def __init__(self) -> None:
        # Where it finds what it decodes: two copies of a photograph fewer than through a pipe.
        self._encoded = _file_in_memory()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        # Held while a process is started, so that `kill` meets either none or all of it.
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process; None before the first task."""
        return self._process.pid if self._process else None

    def run(self, task: Task, data: Buffer, max_bytes: int) -> tuple[Answer, bytearray]:
        """Have *data* decoded: the answer, and the pixels that are not in files.

        Args:
            task: What to do.
            data: The encoded bytes.
            max_bytes: Of the pixels.

        Raises:
            DecoderDied: It did not survive this, or was killed.
            InsufficientStorage: There is no room for *data*.
        """
        try:
            self._encoded.seek(0)
            self._encoded.write(data)
            self._encoded.flush()
        except OSError as e:
            raise InsufficientStorage(
                f"no room for a picture on its way to be decoded: {e.strerror}"
            ) from None
        try:
            return self._run(task, max_bytes)
        finally:
            # The next one is written over what is kept: new memory would cost more than the copy.
            if len(data) > KEPT_FILE_BYTES:
                self._encoded.truncate(KEPT_FILE_BYTES)

    def kill(self) -> None:
        """End it for good, now. A task that runs fails."""
        with self._lock:
            self._is_killed = True
            if self._process:
                self._process.kill()

    def close(self) -> None:
        """End it for good and reap it; when no task runs."""
        self.kill()
        self._end()
        # What found no room before finds none now.
        with contextlib.suppress(OSError):
            self._encoded.close()

    def _run(self, task: Task, max_bytes: int) -> tuple[Answer, bytearray]:
        status = 0
        # What dies before it looks at anything did not die of this: somebody killed it while it was idle.
        for _ in range(2):
            process = self._started()
            if self._begins(process, task):
                return self._answer(process, max_bytes)
            status = self._end()
        raise DecoderDied(status)

    def _begins(self, process: subprocess.Popen[bytes], task: Task) -> bool:
        """Whether it has taken all of the task."""
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("subprocess gave a child without the pipes that we asked for")
        try:
            write_message(process.stdin.fileno(), task, ())
        except BrokenPipeError:
            return False
        return os.read(process.stdout.fileno(), len(BEGUN)) == BEGUN

    def _answer(self, process: subprocess.Popen[bytes], max_bytes: int) -> tuple[Answer, bytearray]:
        if process.stdout is None:
            raise RuntimeError("subprocess gave a child without the pipes that we asked for")
        try:
            return read_message(process.stdout.fileno(), ANSWERS, max_bytes)
        except (EOFError, ValueError):
            raise DecoderDied(self._end()) from None

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_killed:
                raise DecoderDied(-signal.SIGKILL)
            if self._process is None:
                self._process = subprocess.Popen(
                    (sys.executable, "-P", "-m", "plugins.media.decoder", str(self._encoded.fileno())),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    # Pillow and pdfium speak of pictures there.
                    stderr=subprocess.DEVNULL,
                    env=_environment(os.environ),
                    cwd="/",
                    bufsize=0,
                    pass_fds=(self._encoded.fileno(),),
                )
            return self._process

    def _end(self) -> int:
        """Reap it, dead or not; its exit code."""
        process = self._process
        if process is None:
            return -signal.SIGKILL
        process.kill()
        # Closes the pipes, too.
        with process:
            status = process.wait()
        with self._lock:
            self._process = None
        return status


def _file_in_memory() -> BinaryIO:
    """An empty file without a name."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("mlxd-picture"), "wb")
    return cast("BinaryIO", TemporaryFile())


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: ours[name] for name in INHERITED if name in ours} | FIXED
