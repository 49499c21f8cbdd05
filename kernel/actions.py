"""What the kernel wants done: the outputs of its state machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from transports.frames import Parcel
from transports.messages import Role


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message; if it cannot be sent, PeerUnreachable follows."""

    peer: str
    message: Parcel


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process; ProcessStarted or ProcessExited follows."""

    name: str
    role: Role
    kind: str
    token: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Signal a process and its group; ProcessExited follows if it obeys."""

    name: str
    signal: Literal["term", "kill"]


@dataclass(frozen=True, slots=True)
class Prepare:
    """Build the environment and fetch the files of a model; Prepared or PrepareFailed follows."""

    model: str


@dataclass(frozen=True, slots=True)
class ScanCatalog:
    """Look at the disk; CatalogScanned follows."""


@dataclass(frozen=True, slots=True)
class RunJob:
    """Do an administrator's operation that takes time; JobEnded follows."""

    job: str
    operation: str
    # The fields of `Admin`.
    model: str
    name: str


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure memory; Measured follows."""

    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """Write a log event."""

    level: Literal["debug", "info", "warning", "error"]
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """End the kernel; nothing follows."""

    code: int


Action: TypeAlias = Send | Spawn | Kill | Prepare | ScanCatalog | RunJob | Measure | Log | Exit
# How the parts of the state machine hand out actions.
Emit: TypeAlias = Callable[[Action], None]
