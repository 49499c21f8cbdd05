"""Which authorities are believed when a picture is fetched over https."""

from __future__ import annotations

import ssl
import sys

# What the system's own programs believe; Apple keeps it up to date.
MACOS_FILE = "/etc/ssl/cert.pem"


def trusted() -> ssl.SSLContext | bool:
    """For aiohttp; True is whom Python believes.

    Python from python.org believes nobody on macOS before its "Install Certificates.command" was run.
    """
    if sys.platform != "darwin" or ssl.get_default_verify_paths().cafile is not None:
        return True
    return ssl.create_default_context(cafile=MACOS_FILE)
