"""TLS by setting: the certificate and its key, or which file is wrong."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from time import monotonic
from typing import TypeAlias

from transports.errors import ConfigError
from transports.logs import get_logger
from transports.settings import HttpSettings

log = get_logger()

# Certificates are renewed every few weeks. Only new connections look at the files: one of them, in a thread.
LOOK_S = 10.0

# What changes with a file: inode, time of change in ns; None if it is not there.
_Stamp: TypeAlias = tuple[int, int] | None


class Certificate:
    """What connections are encrypted with: the two files, read again when they have changed.

    Args:
        settings: They name both files.

    Raises:
        ConfigError: One of them is missing or of no use.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._stamps = self._look()
        self._context = _read(settings)
        self._looked = monotonic()

    async def context(self) -> ssl.SSLContext:
        """For a new connection; as long as changed files are of no use, the one before."""
        if monotonic() - self._looked >= LOOK_S:
            self._looked = monotonic()
            await asyncio.to_thread(self._renew)
        return self._context

    def _renew(self) -> None:
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._context = _read(self._settings)
        except (ConfigError, OSError) as e:
            log.error("certificate_unusable", reason=str(e))
        else:
            log.info("certificate_changed")

    def _look(self) -> list[_Stamp]:
        return [_stamp_of(path) for path in (self._settings.tls_cert_file, self._settings.tls_key_file)]


def certificate_of(settings: HttpSettings) -> Certificate | None:
    """The certificate; None without one.

    Raises:
        ConfigError: As `Certificate`.
    """
    return Certificate(settings) if settings.tls_cert_file or settings.tls_key_file else None


def _stamp_of(path: str) -> _Stamp:
    try:
        # Where a link leads: a renewed certificate often is another file behind the same name.
        found = Path(path).expanduser().stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


def _read(settings: HttpSettings) -> ssl.SSLContext:
    certificate, key = settings.tls_cert_file, settings.tls_key_file
    for name, path in (("tls_cert_file", certificate), ("tls_key_file", key)):
        if not path:
            raise ConfigError(f"http.{name}: required beside the other of the two, and missing")
        _check_readable(f"http.{name}", Path(path).expanduser())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An encrypted key would ask for its password on a terminal that is not there.
        context.load_cert_chain(Path(certificate).expanduser(), Path(key).expanduser(), password=lambda: "")
    except ssl.SSLError as e:
        if e.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"http.tls_key_file: {key} is not the key of {certificate}") from None
        raise ConfigError(
            f"http.tls_cert_file, http.tls_key_file: expected PEM files with a certificate and its key "
            f"without a password, got {certificate} and {key}"
        ) from None
    return context


def _check_readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as e:
        raise ConfigError(f"{setting}: {path}: {e.strerror}") from None
