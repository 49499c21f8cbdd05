"""The HTTP frontend as the process runner sees it: open, serve, close."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from plugins.client import KernelClient
from plugins.frontend import check_options
from plugins.http.connection import Connection, Limits
from plugins.http.connection_limit import ConnectionLimit
from plugins.http.cors import read_origins
from plugins.http.dispatcher import Dispatcher
from plugins.http.handshake import Handshake
from plugins.http.keyring import Keyring
from plugins.http.listen import addresses_of, are_loopback, listen
from plugins.http.tls import Certificate, certificate_of
from plugins.keys import FILE_NAME
from plugins.media.intake import MediaIntake
from transports.config import home
from transports.descriptors import allow_descriptors
from transports.errors import PluginError
from transports.logs import get_logger
from transports.settings import HttpSettings, MediaSettings

# For connections to close once nothing runs any more.
CLOSE_TIMEOUT_S = 1.0
# Besides connections: decode processes, the kernel, fetched pictures, logs.
SPARE_DESCRIPTORS = 256
DEFAULT_MEDIA = MediaSettings()

log = get_logger()


class HttpFrontend:
    """A door for OpenAI's clients.

    Args:
        settings: The section [http], as the kernel passes it on.
        media: The section [media].
        keys_path: The file with the API keys; None takes that of MLXD_HOME.

    Raises:
        ConfigError: It does not fit `HttpSettings`.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        media: MediaSettings = DEFAULT_MEDIA,
        keys_path: Path | None = None,
    ) -> None:
        self._settings = check_options("http", settings, HttpSettings)
        self._media = media
        self._keys_path = keys_path or home() / FILE_NAME
        # Checked here: at the first request it would be too late.
        read_origins(self._settings.allowed_origins)
        self._sockets: list[socket.socket] = []
        self._certificate: Certificate | None = None
        self._keyring: Keyring

    async def open(self) -> str:
        """Listen.

        Returns:
            The address, with the real port.

        Raises:
            PluginError: The port cannot be had, or would be open to the network without a key.
            ConfigError: The key file or a file for TLS cannot be used.
        """
        settings = self._settings
        addresses = addresses_of(settings.host)
        is_local = are_loopback(addresses)
        self._keyring = Keyring(self._keys_path, is_required=not is_local)
        if not is_local and self._keyring.is_empty:
            raise PluginError(
                f"host {settings.host!r} opens mlxd to the network, which needs an API key: "
                "`mlxd keys new NAME` makes one; or use --host 127.0.0.1"
            )
        self._certificate = certificate_of(settings)
        if not is_local and self._certificate is None:
            log.warning("network_without_tls", host=settings.host)
        allow_descriptors(settings.max_connections + SPARE_DESCRIPTORS)
        self._sockets = listen(addresses, settings.host, settings.port)
        port = self._sockets[0].getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return f"{'https' if self._certificate else 'http'}://{host}:{port}"

    async def serve(self, client: KernelClient) -> None:
        """Answer requests until the kernel stops; then let the running ones end."""
        intake = MediaIntake(self._media, client.shared_folder)
        try:
            await self._serve(client, Dispatcher(self._settings, client, intake, self._keyring))
        finally:
            await intake.close()

    async def close(self) -> None:
        """Give the port back."""
        for listening in self._sockets:
            listening.close()

    async def _serve(self, client: KernelClient, dispatcher: Dispatcher) -> None:
        # A client that leaves takes its handler with it, streaming or not.
        server = web.Server(dispatcher.handle, handler_cancellation=True)
        limits = Limits(
            ConnectionLimit(self._settings.max_connections, self._settings.max_connections_per_address),
            self._settings.header_timeout_s,
            self._settings.keepalive_timeout_s,
            self._settings.write_timeout_s,
        )
        certificate = self._certificate

        def made() -> asyncio.Protocol:
            connection = Connection(server, limits)
            return Handshake(certificate, limits, connection) if certificate else connection

        loop = asyncio.get_running_loop()
        listeners = [await loop.create_server(made, sock=listening) for listening in self._sockets]
        try:
            await client.stopping.wait()
            for listener in listeners:
                listener.close()
            for handshake in limits.handshakes:
                handshake.cancel()
            for connection in list(limits.open_connections):
                connection.close_if_idle()
            await dispatcher.idle.wait()
        finally:
            for listener in listeners:
                listener.close()
            await asyncio.gather(*limits.handshakes, return_exceptions=True)
            await server.shutdown(CLOSE_TIMEOUT_S)
