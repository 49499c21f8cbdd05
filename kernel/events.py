"""What can happen to the kernel: the inputs of its state machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from kernel.last_words import reason_in
from kernel.model_sizes import ModelSizes
from transports.envelope import Message
from transports.errors import MlxdError
from transports.frames import Parcel
from transports.messages import Progress
from transports.reports import ModelInfo


class MessageReceived(Struct, frozen=True):
    """A well-formed message came from a peer."""

    peer: str
    message: Parcel
    # Who is behind the connection: the same text for all of one process. "" where nobody tells.
    origin: str = ""


class MalformedReceived(Struct, frozen=True):
    """Frames came that are no message."""

    peer: str
    error: MlxdError
    # As in `MessageReceived`.
    origin: str = ""


class PeerUnreachable(Struct, frozen=True):
    """A message could not be sent: the peer is gone or does not take its messages."""

    peer: str
    reason: str


class ProcessStarted(Struct, frozen=True):
    """A process that we asked for exists."""

    name: str
    pid: int


class ProcessExited(Struct, frozen=True):
    """A process that we asked for has ended, or could not be started."""

    name: str
    # Negative: the number of the signal. None: it never started.
    returncode: int | None
    # Its last lines on stderr.
    last_words: tuple[str, ...] = ()
    # "SIGABRT"; "" if no signal ended it.
    signal_name: str = ""
    # The system killed for want of memory at that time.
    memory_ran_out: bool = False

    @property
    def reason(self) -> str:
        """Why it ended, for people."""
        said = reason_in(self.last_words)
        last = f": {said}" if said else ""
        if self.returncode is None:
            return f"it could not be started{last}"
        if self.returncode < 0:
            name = f" ({self.signal_name})" if self.signal_name else ""
            return f"signal {-self.returncode}{name}{self._hint}{last}"
        if self.is_refusal and said:
            return said.removeprefix("mlxd: ")
        return f"exit code {self.returncode}{last}"

    @property
    def _hint(self) -> str:
        """The kernel's own kills have a reason of their own."""
        if self.signal_name != "SIGKILL":
            return ""
        if self.memory_ran_out:
            return ", sent by the system because memory ran out"
        return ", as the system sends when memory runs out"

    @property
    def is_refusal(self) -> bool:
        """Whether it said itself that it cannot work: starting it again will not help."""
        return self.returncode == 2


class CatalogScanned(Struct, frozen=True):
    """The models that exist, as the disk has them."""

    models: tuple[ModelInfo, ...]
    # What they need of the memory, by name.
    sizes: Mapping[str, ModelSizes] = {}
    # Why the disk could not be looked at; what is here is what was seen before.
    error: str = ""


class Prepared(Struct, frozen=True):
    """A model's environment is built and its files are there."""

    model: str
    # Where the files are.
    path: str
    # Of them, as in `ModelInfo`.
    fingerprint: str = ""


class PrepareFailed(Struct, frozen=True):
    """A model's environment or files could not be had."""

    model: str
    error: MlxdError


class PrepareProgressed(Struct, frozen=True):
    """How far the preparation of a model is."""

    model: str
    progress: Progress


class JobProgressed(Struct, frozen=True):
    """How far a job for an administrator is."""

    job: str
    progress: Progress


class JobEnded(Struct, frozen=True):
    """A job for an administrator is done, or failed."""

    job: str
    result: Message | MlxdError


class Measured(Struct, frozen=True):
    """Memory as the system charges it to processes, and what it has left."""

    # Bytes by pid; our own is under 0.
    memory_bytes: Mapping[int, int] = {}
    # What it could give without swapping; None where it does not say.
    available_bytes: int | None = None
    # Linux: the part of the last ten seconds in which some process waited for memory.
    stall_percent: float | None = None
    # macOS: 1 normal, 2 warning, 4 critical.
    pressure_level: int | None = None
    # Of a GPU with memory of its own: bytes by pid of those that use it, and what it has left.
    gpu_bytes: Mapping[int, int] = {}
    gpu_free_bytes: int | None = None


class StopRequested(Struct, frozen=True):
    """SIGTERM, Ctrl-C or `mlxd stop`: first drain, the second time end now."""

    now: bool = False


class TimePassed(Struct, frozen=True):
    """A deadline may have come."""


Event: TypeAlias = (
    MessageReceived
    | MalformedReceived
    | PeerUnreachable
    | ProcessStarted
    | ProcessExited
    | CatalogScanned
    | Prepared
    | PrepareFailed
    | PrepareProgressed
    | JobProgressed
    | JobEnded
    | Measured
    | StopRequested
    | TimePassed
)
