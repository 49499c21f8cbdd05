"""The listening sockets, and why they could not be had."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import TypeAlias

from plugins.http.gate import is_loopback
from transports.errors import PluginError

BACKLOG = 128

Address: TypeAlias = tuple[socket.AddressFamily, str]


def addresses_of(host: str) -> tuple[Address, ...]:
    """What *host* names; asked once, as a name may lead elsewhere the next time.

    Args:
        host: An address of this machine or a name of one; "" is all of IPv4.

    Raises:
        PluginError: It is not known.
    """
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)  # noqa: S104 needs a key
    except (OSError, UnicodeError):
        raise PluginError(f"host {host!r} is not known; use --host 127.0.0.1") from None
    return tuple(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def are_loopback(addresses: Iterable[Address]) -> bool:
    """Whether only this machine reaches what listens on them."""
    return all(is_loopback(address) for _, address in addresses)


def listen(addresses: Iterable[Address], host: str, port: int) -> list[socket.socket]:
    """Bind all *addresses* at the same port.

    Args:
        addresses: What *host* names.
        host: For errors.
        port: 0 takes a free one.

    Raises:
        PluginError: The port is taken or not ours to take.
    """
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for family, address in addresses:
        try:
            sockets.append(_bind(family, address, port))
        except OSError as e:
            refused = e
            # "localhost" may name an IPv6 address on a machine without IPv6.
            if e.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue
            break
        port = sockets[0].getsockname()[1]
    else:
        if sockets:
            return sockets
    for bound in sockets:
        bound.close()
    raise _explained(refused, host, port)


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Only the time after a close: a port in use is still refused.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _explained(error: OSError | None, host: str, port: int) -> PluginError:
    if error and error.errno == errno.EADDRINUSE:
        return PluginError(f"port {port} is in use{_by_whom(port)}; choose another with --port")
    if error and error.errno == errno.EACCES:
        return PluginError(f"port {port} may not be opened by this user; choose one above 1023 with --port")
    reason = error.strerror if error else "no address"
    return PluginError(f"{host} port {port} cannot be opened: {reason}; use --host 127.0.0.1")


def _by_whom(port: int) -> str:
    """ " by pid N (name)" where the system tells us."""
    # Only here: the import costs memory, and the server never needs it.
    import psutil  # noqa: PLC0415

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1] == port and connection.pid:
                return f" by pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass  # macOS shows other processes' sockets to root only.
    return ""
