"""Reads prompts, and looks at pictures, beside the running answers: in a thread of its own.

mlx computes a step on one processor of a CPU, so that a long prompt need not hold up the answers. A GPU has
no second one: there a piece of a prompt is read after each step (workers/generation/pace.py).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import mlx.core as mx

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Stream = Any

T = TypeVar("T")

# A piece of a prompt is to take about so long: whoever is cancelled while it is read waits for its end.
PIECE_S = 0.5
MIN_PIECE_TOKENS = 32
# Before it is known how long they take.
FIRST_PIECE_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """What is being done: its result, and how many seconds it took."""

    work: Future[tuple[Any, float]]
    # Of prompts; 0 for something else.
    num_tokens: int


class PromptReader:
    """One piece of work at a time. All calls come from the engine's thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "prompt-reader")
        self._stream: Stream = None
        self._piece: Piece | None = None
        # Of all prompts together, in the next piece.
        self.piece_tokens = FIRST_PIECE_TOKENS

    @property
    def is_busy(self) -> bool:
        """Whether a piece is not done."""
        return self._piece is not None and not self._piece.work.done()

    def start(self, work: Callable[[], object], num_tokens: int = 0) -> None:
        """Have *work* called beside; the piece before must have been taken.

        It may use arrays of this thread that have values, and must give all that it makes values.
        """
        self._piece = Piece(self._thread.submit(self._timed, work), num_tokens)

    def take(self) -> Any:
        """Wait for the piece; its result. None if there is no piece.

        Raises:
            Exception: What it raised.
        """
        piece, self._piece = self._piece, None
        if piece is None:
            return None
        result, seconds = piece.work.result()
        if piece.num_tokens:
            fitting = piece.num_tokens * PIECE_S / max(seconds, sys.float_info.min)
            # Not all the way at once: some of the time does not depend on the size.
            fitting = min(max(fitting, self.piece_tokens / 2), self.piece_tokens * 2)
            self.piece_tokens = max(MIN_PIECE_TOKENS, int(fitting))
        return result

    def settle(self) -> None:
        """Wait until nothing is being done."""
        if self._piece is not None:
            wait([self._piece.work])

    def forget(self) -> None:
        """Wait for the piece, and take no more interest in it."""
        self.settle()
        self._piece = None

    def close(self) -> None:
        """End the thread."""
        # mlx's own thread behind the stream must end first: it aborts the process otherwise, now and then.
        self._thread.submit(mx.clear_streams)
        self._thread.shutdown()

    def _timed(self, work: Callable[[], T]) -> tuple[T, float]:
        if self._stream is None:
            # Streams belong to the thread that made them.
            self._stream = mx.new_stream(mx.cpu)
        started_s = time.perf_counter()
        with mx.stream(self._stream):
            result = work()
        return result, time.perf_counter() - started_s


def has_processor_to_spare(device: str) -> bool:
    """Whether *device* is a CPU of which a worker's steps leave something idle."""
    allowed = os.sched_getaffinity(0) if sys.platform == "linux" else range(os.cpu_count() or 1)
    return device == "cpu" and len(allowed) > 1
