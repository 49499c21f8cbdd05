"""A TCP connection until it is encrypted: counted from its first moment, and given up when it takes long."""

from __future__ import annotations

import asyncio

from plugins.http.connection import Connection, Limits, address_of
from plugins.http.tls import Certificate
from transports.errors import CapacityError


class Handshake(asyncio.Protocol):
    """Becomes *connection* once TLS is agreed on.

    asyncio would tell of a connection only then: those that never come so far were as many as one liked.
    """

    def __init__(self, certificate: Certificate, limits: Limits, connection: Connection) -> None:
        self._certificate = certificate
        self._limits = limits
        self._connection = connection
        # What came encrypted with the end of the handshake.
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("expected a stream transport")
        address = address_of(transport)
        try:
            self._limits.connections.acquire(address)
        except CapacityError:
            # An answer would have to be encrypted: work, for nobody that we know.
            transport.abort()
            return
        # Until TLS reads.
        transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._agree(transport, address))
        self._limits.handshakes.add(task)
        task.add_done_callback(self._limits.handshakes.discard)

    def data_received(self, data: bytes) -> None:
        self._early += data

    async def _agree(self, transport: asyncio.Transport, address: str) -> None:
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                await self._certificate.context(),
                server_side=True,
                ssl_handshake_timeout=self._limits.header_timeout_s,
            )
        except OSError:
            encrypted = None
        finally:
            # What it is now counts itself.
            self._limits.connections.release(address)
        if encrypted is None:
            return
        encrypted.set_protocol(self._connection)
        self._connection.connection_made(encrypted)
        if self._early:
            self._connection.data_received(self._early)
