"""How a process hangs on its parent: one line of instructions on stdin, then end of file means die."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from transports.errors import ConfigError
from transports.settings import MediaSettings

# Settings, a token and an endpoint; far below this.
MAX_BOOTSTRAP_BYTES = 1024 * 1024
# From linux/prctl.h.
PR_SET_PDEATHSIG = 1

T = TypeVar("T", bound=msgspec.Struct)


class PeerBootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel tells a process that it starts; the token never stands in argv or environment."""

    endpoint: str
    token: str
    # The supervisor's name for the process.
    name: str
    # The kind of frontend or worker.
    kind: str
    # Of the kernel and of the code that the process must share with it.
    mlxd_version: str
    # For workers: what loads a model, "module:function".
    loader: str = ""
    # The settings section of that kind.
    settings: dict[str, object] = {}
    # For frontends: how all of them take pictures.
    media: MediaSettings = MediaSettings()
    log_level: str = "info"
    log_format: str = "text"


def read_bootstrap(into: type[T]) -> T:
    """Read the line that the parent wrote to our stdin.

    Raises:
        ConfigError: Nobody wrote one, or not of this shape: the process was started by hand.
    """
    line = bytearray()
    # Unbuffered: what follows the line belongs to `die_with_parent`.
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1)
        if not chunk or len(line) > MAX_BOOTSTRAP_BYTES:
            raise ConfigError(
                "stdin: expected one line of instructions; mlxd's processes are started by mlxd"
            )
        line += chunk
    try:
        return msgspec.json.decode(bytes(line), type=into)
    except msgspec.DecodeError as e:
        raise ConfigError(f"stdin: {e}; mlxd's processes are started by mlxd") from None


def die_with_parent(on_orphaned: Callable[[], None]) -> threading.Thread:
    """Call *on_orphaned* from a thread when the parent closes our stdin or dies."""

    def watch() -> None:
        # One that cannot be read any more holds nobody.
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        on_orphaned()

    thread = threading.Thread(target=watch, name="tether", daemon=True)
    thread.start()
    return thread


def kill_with_parent() -> None:
    """Have the system kill us the moment the parent dies, where it can (Linux). Call before slow imports."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before the call took effect.
        os._exit(1)
