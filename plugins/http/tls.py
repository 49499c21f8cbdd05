"""TLS by setting: the certificate and its key, or which file is wrong."""

from __future__ import annotations

import ssl
from pathlib import Path

from transports.errors import ConfigError
from transports.settings import HttpSettings


def tls_context(settings: HttpSettings) -> ssl.SSLContext | None:
    """What connections are encrypted with; None without a certificate.

    Raises:
        ConfigError: One of the two files is missing or of no use.
    """
    certificate, key = settings.tls_cert_file, settings.tls_key_file
    if not certificate and not key:
        return None
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
