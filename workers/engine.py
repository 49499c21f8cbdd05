"""What a worker asks of an engine: the contract between the runtime and a model library.

All calls come from one thread, the thread that built the engine: mlx streams are thread-local.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from transports.envelope import Message
from transports.errors import MlxdError
from transports.frames import Buffer
from transports.messages import Item, Progress, Usage

# Called while a model loads.
OnProgress: TypeAlias = Callable[[Progress], None]


class EngineInfo(Struct, frozen=True, kw_only=True):
    """What an engine can do; becomes `Ready`."""

    num_slots: int
    context_length: int
    device: str
    notes: tuple[str, ...] = ()


class Failure(Struct, frozen=True, kw_only=True):
    """The bad end of one request inside the engine; its neighbours go on."""

    id: str
    error: MlxdError


class Numbers(Struct, frozen=True, kw_only=True):
    """The good end of an embeddings or rerank: leaves as `Vectors` with its frame, and `Done`."""

    id: str
    # The bytes of little-endian float32 of shape (num_rows, row_size), row by row; never written to again.
    values: memoryview
    num_rows: int
    row_size: int
    usage: Usage


Output: TypeAlias = Item | Numbers | Failure


class Engine(Protocol):
    """A loaded model that answers several requests at once.

    Every request that `add` took ends in exactly one `Done`, `Numbers` or `Failure` from `step` or `cancel`.
    """

    @property
    def info(self) -> EngineInfo:
        """Fixed once loaded."""
        ...

    @property
    def tasks(self) -> Mapping[str, type[Message]]:
        """Task name -> the body type that `add` takes for it."""
        ...

    def add(self, request_id: str, task: str, body: Message, buffers: Sequence[Buffer]) -> None:
        """Take a request; it joins the batch at the next step.

        Args:
            request_id: Unique among the requests inside the engine.
            task: A key of `tasks`.
            body: Of the type that `tasks` gives.
            buffers: For a chat the pixels of `body.images`, one item each of height * width * 3 bytes,
                whichever way they came; images may share one. For other tasks the frames after the body.
                Not to be written to; they live as long as somebody holds them.

        Raises:
            MlxdError: It cannot be served (too long, a token id out of range); nothing was taken.
        """
        ...

    def cancel(self, request_id: str) -> list[Output]:
        """End a request now with finish_reason "cancelled"; [] for an id that is not inside."""
        ...

    def step(self) -> list[Output]:
        """Do one unit of work (a decode step for all, and at most one prefill chunk).

        Never raises for one request's sake. What it raises ends the worker.
        """
        ...

    def has_work(self) -> bool:
        """Whether `step` has anything to do."""
        ...

    def progress(self) -> int:
        """A counter that grows with each unit of work; read by another thread.

        An engine that it stands still for is ended: a unit must be short on a machine that is busy, too.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...
