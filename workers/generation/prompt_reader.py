"""Reads prompts beside the running answers: in a thread of its own, on a processor that they leave idle.

mlx computes a step on one processor of a CPU, so that a long prompt need not hold up the answers. A GPU has
no second one: there a piece of a prompt is read after each step (workers/generation/pace.py).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from workers.blas import reserve_buffers
from workers.generation.pace import fitting_tokens

# Any: mlx and mlx-lm publish no types that mypy sees outside a worker's environment.
Response = Any
Stream = Any

# A piece of a prompt is to take about so long: whoever is cancelled while it is read waits for its end.
PIECE_S = 0.5
MIN_PIECE_TOKENS = 32
# Before it is known how long they take.
FIRST_PIECE_TOKENS = 64
# This thread, and the engine's.
_NUM_COMPUTING = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """What is being read."""

    # Seconds that it took.
    work: Future[float]
    num_tokens: int
    # Of mlx-lm, told when it is read.
    responses: Sequence[Response]


class PromptReader:
    """One piece at a time. All calls come from the engine's thread."""

    def __init__(self) -> None:
        # All that the thread needs is there from the start: there may be no memory for it later.
        self._thread = ThreadPoolExecutor(1, "prompt-reader")
        # Streams belong to the thread that made them.
        self._stream: Stream = self._thread.submit(mx.new_stream, mx.cpu).result()
        reserve_buffers(_NUM_COMPUTING)
        self._piece: Piece | None = None
        # Of all prompts together, in the next piece.
        self.piece_tokens = FIRST_PIECE_TOKENS

    @property
    def is_reading(self) -> bool:
        """Whether a piece is not read to its end."""
        return self._piece is not None and not self._piece.work.done()

    def start(self, read: Callable[[], None], num_tokens: int, responses: Sequence[Response]) -> None:
        """Have *read* called beside; the piece before must have been taken."""
        self._piece = Piece(self._thread.submit(self._timed, read), num_tokens, responses)

    def take(self) -> Sequence[Response]:
        """Wait for the piece; its responses.

        Raises:
            Exception: What reading it raised.
        """
        piece, self._piece = self._piece, None
        if piece is None:
            return ()
        fitting = fitting_tokens(self.piece_tokens, piece.num_tokens, piece.work.result(), PIECE_S)
        self.piece_tokens = max(MIN_PIECE_TOKENS, int(fitting))
        return piece.responses

    def settle(self) -> None:
        """Wait until nothing is being read."""
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

    def _timed(self, read: Callable[[], None]) -> float:
        started_s = time.perf_counter()
        with mx.stream(self._stream):
            read()
        return time.perf_counter() - started_s


def has_processor_to_spare(device: str) -> bool:
    """Whether *device* is a CPU of which a worker's steps leave something idle."""
    num_processors = os.cpu_count() or 1
    if sys.platform == "linux":
        num_processors = len(os.sched_getaffinity(0))
    return device == "cpu" and num_processors > 1
