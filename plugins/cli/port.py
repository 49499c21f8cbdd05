"""Whether a port is free, and if not, who has it: told before anything is started."""

from __future__ import annotations

import errno
import socket

from transports.errors import ConfigError, PluginError


def check_port(host: str, port: int) -> None:
    """Bind the address for a moment, as the HTTP frontend will.

    Raises:
        ConfigError: The host is no address of this machine, or the port needs rights.
        PluginError: Another process has the port.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as e:
        raise ConfigError(f"http.host: {host}: {e}") from None
    for family, type_, protocol, _, address in addresses:
        with socket.socket(family, type_, protocol) as probe:
            # As asyncio does: a port whose last connections still linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
                probe.listen(1)
            except OSError as e:
                raise _explain(e, host, port) from None


def _explain(error: OSError, host: str, port: int) -> ConfigError | PluginError:
    if error.errno == errno.EADDRINUSE:
        return PluginError(
            f"http.port: {port} is in use{_owner(port)}; end that, or choose another with --port"
        )
    if error.errno == errno.EACCES:
        return ConfigError(f"http.port: {port} needs rights that you do not have; choose one above 1023")
    return ConfigError(f"http.host: {host}: {error.strerror}")


def _owner(port: int) -> str:
    """Who listens there, as far as this user may know."""
    import psutil  # noqa: PLC0415  # 20 ms that no start should wait for.

    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
