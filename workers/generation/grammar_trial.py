"""A process that compiles strangers' grammars first, and may be killed for it.

llguidance counts most of its work and stops, but not all: some schemas keep it busy, or growing, for
minutes. What passes here in time takes no longer in the worker.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from threading import Thread
from typing import IO, cast

import msgspec
import psutil
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from transports.errors import RequestError

# Processor time, so that a busy machine refuses nobody; and by the clock, lest it waits for ever.
COMPILE_CPU_S = 2.0
COMPILE_WALL_S = 20.0
# The tokenizer of a large vocabulary takes a second.
START_WALL_S = 60.0
MAX_MEMORY_BYTES = 512 * 1024 * 1024
# Processor time for the choice of one token; in the worker all rows wait for it. Seldom over 30 ms.
MASK_CPU_S = 0.25
# Some work is put off until a token is chosen. So many are chosen here, at random.
_NUM_TRIED = 24
_DONE, _SLOW = b"done\n", b"slow\n"
# Between two looks at a process that computes.
_LOOK_S = 0.02


class TrialOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The first line that the process reads: for which model, and how."""

    # tokenizer.json as the model's tokenizer has it now.
    tokenizer: str
    vocab_size: int
    eos_tokens: list[int]
    limits: dict[str, int]

    def llguidance_tokenizer(self) -> LLTokenizer:
        """The vocabulary as llguidance uses it."""
        return LLTokenizer(self.tokenizer, n_vocab=self.vocab_size, eos_token=self.eos_tokens or None)


class GrammarTrial:
    """The worker's end. Used by one thread, which lives as long as this does."""

    def __init__(self, order: TrialOrder) -> None:
        """No process yet; *order* is what it will be told."""
        # Megabytes, and Python's lock is held while they are made.
        self._order = msgspec.json.encode(order)
        self._process: subprocess.Popen[bytes] | None = None
        # What the process says when it has started, and who waits for that.
        self._greeting: tuple[Thread, list[bytes]]
        self._is_closed = False

    def start(self) -> None:
        """Begin to start the process, if there is none; `check` waits for it."""
        if self._process is not None or self._is_closed:
            return
        # In the worker's process group, which is killed when the worker has ended.
        process = self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers", "grammar-trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        lines: list[bytes] = []
        self._greeting = _ask(process, self._order, lines), lines

    def check(self, text: str, param: str) -> None:
        """Have a grammar in llguidance's format compiled elsewhere.

        Raises:
            RequestError: It takes too long, or too much memory.
        """
        process = self._started()
        lines: list[bytes] = []
        used_s, started = _cpu_s(process), time.monotonic()
        waiter = _ask(process, msgspec.json.encode(text), lines)
        while waiter.is_alive():
            waiter.join(_LOOK_S)
            is_late = _cpu_s(process) - used_s > COMPILE_CPU_S or time.monotonic() - started > COMPILE_WALL_S
            if waiter.is_alive() and is_late:
                self._kill()
                waiter.join()
        if lines == [_SLOW]:
            raise RequestError(
                f"{param}: too complex: the choice of a token took more than {MASK_CPU_S:g} s", param=param
            )
        if lines != [_DONE]:
            self._kill()
            # The next grammar shall not pay for this one.
            self.start()
            raise RequestError(
                f"{param}: too complex: its compilation took more than {COMPILE_CPU_S:g} s or "
                f"{MAX_MEMORY_BYTES // 1024**2} MB",
                param=param,
            )

    def close(self) -> None:
        """End the process, for good."""
        self._is_closed = True
        self._kill()

    def _started(self) -> subprocess.Popen[bytes]:
        self.start()
        if (process := self._process) is None:
            raise RuntimeError("the process that tries grammars was ended")
        waiter, lines = self._greeting
        waiter.join(START_WALL_S)
        if lines != [_DONE]:
            self._kill()
            raise RuntimeError("the process that tries grammars did not start")
        return process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def main() -> int:
    """Compile what stands on stdin, a line each, and say so; until stdin ends or somebody kills us."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=TrialOrder)
    tokenizer = order.llguidance_tokenizer()
    limits = LLParserLimits(**order.limits, verbose_errors=False)
    _limit_memory()
    _say(_DONE)
    for line in sys.stdin.buffer:
        matcher = LLMatcher(tokenizer, msgspec.json.decode(line, type=str), log_level=0, limits=limits)
        answer = _SLOW if _is_slow(matcher) else _DONE
        # Freed before the next one comes.
        del matcher
        _say(answer)
    return 0


def _is_slow(matcher: LLMatcher) -> bool:
    """Choose some tokens; a grammar that does not compile is not slow."""
    rng = random.Random(_NUM_TRIED)
    for _ in range(_NUM_TRIED):
        if matcher.is_error() or matcher.is_stopped():
            return False
        before_s = time.process_time()
        mask = matcher.compute_bitmask()
        if time.process_time() - before_s > MASK_CPU_S:
            return True
        bits = int.from_bytes(mask, "little")
        # The first that is allowed at or after a random place.
        place = rng.randrange(len(mask) * 8)
        above = bits >> place << place or bits
        if not above:
            return False
        matcher.consume_token((above & -above).bit_length() - 1)
    return False


def _say(word: bytes) -> None:
    sys.stdout.buffer.write(word)
    sys.stdout.buffer.flush()


def _limit_memory() -> None:
    """As far as the system does that (not macOS, where the time limit has to do)."""
    if sys.platform == "linux":
        import resource  # noqa: PLC0415 - Unix only

        most = psutil.Process().memory_info().vms + MAX_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _ask(process: subprocess.Popen[bytes], line: bytes, lines: list[bytes]) -> Thread:
    """Give the process a line of JSON; the thread ends when it has answered, in *lines*, or died."""
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            stdin.write(line)
            stdin.write(b"\n")
            stdin.flush()
            lines.append(stdout.readline())

    thread = Thread(target=ask, name="grammar-trial", daemon=True)
    thread.start()
    return thread


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
