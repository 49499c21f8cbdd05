"""The file with the API keys: what each of them may do, and a digest in place of its secret."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from transports.envelope import ModelName
from transports.errors import ConfigError
from transports.filelock import locked_blocking

# In MLXD_HOME. As long as it is there, nobody is answered without a key, also if it holds none.
FILE_NAME = "keys.json"
# Each costs a comparison a request.
MAX_KEYS = 256
MAX_FILE_BYTES = 1024 * 1024
# Of randomness in a secret: nobody guesses it, so that a plain hash will do.
SECRET_BYTES = 32
PREFIX = "mlxd-"
# For another command that writes the file.
LOCK_TIMEOUT_S = 5.0

Scope = Literal["use", "admin"]
# What a key may be called.
NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
KeyName: TypeAlias = Annotated[str, Meta(pattern=rf"^{NAME.pattern}\Z")]


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one key is good for."""

    name: KeyName
    # SHA-256 of the secret, hexadecimal.
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    # Unix time, seconds.
    created: int
    # "admin" may use models too.
    scope: Scope = "use"
    # Names of models, also aliases, as requests have them; none: all.
    models: Annotated[tuple[ModelName, ...], Meta(max_length=256)] = ()
    # `Envelope.priority` is never higher.
    max_priority: Annotated[int, Meta(ge=-1, le=1)] = 1
    # 0 is no limit.
    max_requests_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 0

    def may_use(self, model: str) -> bool:
        """Whether requests may name *model*."""
        return not self.models or model in self.models


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    keys: Annotated[tuple[Key, ...], Meta(max_length=MAX_KEYS)]


# What changes with the file: inode, time of change in ns, also of its mode and owner, size.
Stamp: TypeAlias = tuple[int, int, int]


def new_secret() -> str:
    """A secret for a new key; it is shown once and kept nowhere."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: str) -> str:
    """What the file has of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def stamp_of(path: Path) -> Stamp | None:
    """Differs when the file was changed; None if it is not there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns, found.st_size


def read_keys(path: Path) -> tuple[Key, ...] | None:
    """The keys in the file; None if it is not there.

    Raises:
        ConfigError: It is no file of ours alone, or not as we write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}; expected a file that `mlxd keys` wrote") from None
    try:
        _check_private(path, os.fstat(descriptor))
        content = b""
        while len(content) <= MAX_FILE_BYTES and (more := os.read(descriptor, MAX_FILE_BYTES)):
            content += more
    finally:
        os.close(descriptor)
    try:
        keys = msgspec.json.decode(content, type=_File).keys
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: {e}; expected a file that `mlxd keys` wrote") from None
    if len({key.name for key in keys}) < len(keys):
        raise ConfigError(f"{path}: two keys have the same name")
    return keys


def change_keys(path: Path, change: Callable[[tuple[Key, ...]], tuple[Key, ...]]) -> None:
    """Write what *change* makes of the keys, whole or not at all; other commands wait.

    Raises:
        ConfigError: As `read_keys`, a key is wrong, or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked_blocking(path.parent, timeout_s=LOCK_TIMEOUT_S):
            content = msgspec.json.encode(_File(keys=change(read_keys(path) or ())))
            # What could not be read again would keep everybody out.
            msgspec.json.decode(content, type=_File)
            _write(path, msgspec.json.format(content) + b"\n")
    except TimeoutError:
        raise ConfigError(f"{path}: another command is changing the keys; try again") from None
    except msgspec.ValidationError as e:
        raise ConfigError(f"this key cannot be kept: {e}") from None
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}; set MLXD_HOME to a folder that you can write to") from None


def _check_private(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.getuid():
        raise ConfigError(f"{path}: expected a file of this user")
    if info.st_mode & 0o077:
        raise ConfigError(f"{path}: others may read or write it; `chmod 600` it")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    # What a command that was killed has left.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            # Whatever the umask takes away.
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
