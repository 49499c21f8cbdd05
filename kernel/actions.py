"""What the kernel wants done: the outputs of its state machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from transports.frames import Parcel
from transports.messages import Role


class Send(Struct, frozen=True):
    """Send a message; if it cannot be sent, PeerUnreachable follows."""

    peer: str
    message: Parcel


class MakeFolder(Struct, frozen=True):
    """Make a frontend's folder for shared files."""

    peer: str


class RemoveFolder(Struct, frozen=True):
    """Remove a frontend's folder with all that is in it; it may be gone already."""

    peer: str


class Spawn(Struct, frozen=True):
    """Start a process; ProcessStarted or ProcessExited follows."""

    name: str
    role: Role
    kind: str
    token: str
    # "" for a frontend.
    model: str = ""


class Kill(Struct, frozen=True):
    """Signal a process and its group; ProcessExited follows if it obeys."""

    name: str
    signal: Literal["term", "kill"]


class Prepare(Struct, frozen=True):
    """Build the environment and fetch the files of a model; Prepared or PrepareFailed follows."""

    model: str


class ScanCatalog(Struct, frozen=True):
    """Look at the disk; CatalogScanned follows."""


class RunJob(Struct, frozen=True):
    """Do an administrator's operation that takes time; JobEnded follows."""

    job: str
    operation: str
    # The fields of `Admin`.
    model: str
    name: str


class CancelJob(Struct, frozen=True):
    """Stop a job that nobody waits for; nothing follows."""

    job: str


class Measure(Struct, frozen=True):
    """Measure memory; Measured follows."""

    pids: tuple[int, ...]
    # Those of them whose models may be on a GPU.
    gpu_pids: tuple[int, ...] = ()


class Disconnect(Struct, frozen=True):
    """Take nothing more from *origin* for a while: close its connections, and let it make no new ones."""

    # One of its identities, which is told why before.
    peer: str
    origin: str


class Log(Struct, frozen=True):
    """Write a log event."""

    level: Literal["debug", "info", "warning", "error"]
    event: str
    fields: Mapping[str, object] = {}


class Exit(Struct, frozen=True):
    """End the kernel; nothing follows."""

    code: int


Action: TypeAlias = (
    Send
    | MakeFolder
    | RemoveFolder
    | Spawn
    | Kill
    | Prepare
    | ScanCatalog
    | RunJob
    | CancelJob
    | Measure
    | Disconnect
    | Log
    | Exit
)
# How the parts of the state machine hand out actions.
Emit: TypeAlias = Callable[[Action], None]
