"""The HTTP frontend as the process runner sees it: open, serve, close."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import msgspec
from aiohttp import web

from plugins.client import KernelClient
from plugins.http.connection import Connection, Limits
from plugins.http.listen import listen
from plugins.http.routes import Dispatcher
from plugins.media.intake import MediaIntake
from transports.descriptors import allow_descriptors
from transports.errors import ConfigError
from transports.settings import HttpSettings, MediaSettings

# For connections to close once nothing runs any more.
CLOSE_TIMEOUT_S = 1.0
# Besides connections: decode processes, the kernel, fetched pictures, logs.
SPARE_DESCRIPTORS = 256
DEFAULT_MEDIA = MediaSettings()


class HttpFrontend:
    """A door for OpenAI's clients.

    Args:
        settings: The section [http], as the kernel passes it on.
        media: The section [media].

    Raises:
        ConfigError: It does not fit `HttpSettings`.
    """

    def __init__(self, settings: Mapping[str, object], media: MediaSettings = DEFAULT_MEDIA) -> None:
        try:
            self._settings = msgspec.convert(settings, HttpSettings)
        except msgspec.ValidationError as e:
            raise ConfigError(f"[http]: {e}") from None
        self._media = media
        self._sockets: list[socket.socket] = []

    async def open(self) -> str:
        """Listen.

        Returns:
            The address, with the real port.

        Raises:
            PluginError: The port cannot be had.
        """
        allow_descriptors(self._settings.max_connections + SPARE_DESCRIPTORS)
        self._sockets = listen(self._settings.host, self._settings.port)
        port = self._sockets[0].getsockname()[1]
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"http://{host}:{port}"

    async def serve(self, client: KernelClient) -> None:
        """Answer requests until the kernel stops; then let the running ones end."""
        intake = MediaIntake(self._media, client.shared_folder)
        try:
            await self._serve(client, Dispatcher(self._settings, client, intake))
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
            self._settings.max_connections,
            self._settings.header_timeout_s,
            self._settings.keepalive_timeout_s,
            self._settings.write_timeout_s,
        )
        loop = asyncio.get_running_loop()
        listeners = [
            await loop.create_server(lambda: Connection(server, limits), sock=listening)
            for listening in self._sockets
        ]
        try:
            await client.stopping.wait()
            for listener in listeners:
                listener.close()
            for connection in list(limits.open_connections):
                connection.close_if_idle()
            await dispatcher.idle.wait()
        finally:
            for listener in listeners:
                listener.close()
            await server.shutdown(CLOSE_TIMEOUT_S)
