"""One TCP connection: counted, and closed when its headers do not come in time.

aiohttp has neither a limit of connections nor a time for headers; it answers bad HTTP in plain text.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from dataclasses import dataclass, field

from aiohttp import web

from plugins.http.connection_limit import ConnectionLimit
from plugins.http.headers import ALWAYS
from plugins.openai.errors import error_body
from transports.errors import CapacityError, RequestError

# After an answer, how long an unread body is swallowed before the connection closes.
LINGER_S = 2.0
# Pipelined requests and their headers: aiohttp's own defaults, written down because we rely on them.
MAX_LINE_BYTES = 8190
MAX_HEADERS = 128
# To a silent client, in half of `http.write_timeout_s`.
NUM_PROBES = 3
# netinet/tcp.h of macOS: seconds until what is sent again and again without an answer ends a connection.
TCP_RXT_CONNDROPTIME = 0x80
# Of a body that its reader has not taken: twice as much stops the client. aiohttp's own quarter of it stops
# and starts the client 40 times in a photograph, which takes 3 ms.
READ_BUFFER_BYTES = 256 * 1024


@dataclass
class Limits:
    """What all connections of a server share."""

    connections: ConnectionLimit
    header_timeout_s: float
    keepalive_timeout_s: float
    write_timeout_s: float
    open_connections: set[Connection] = field(default_factory=set)
    # Of those that are not encrypted yet.
    handshakes: set[asyncio.Task[None]] = field(default_factory=set)


class Connection(web.RequestHandler):
    """aiohttp's connection with a watch on it."""

    __slots__ = ("_address", "_header_timer", "_is_answering", "_limits")

    def __init__(self, server: web.Server, limits: Limits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.keepalive_timeout_s,
            # Ours is in dispatcher.py; aiohttp's type forgets that None is allowed.
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
            lingering_time=LINGER_S,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            read_bufsize=READ_BUFFER_BYTES,
            # `_notice_loss` does that, and survives a connection that has ended already.
            tcp_keepalive=False,
        )
        self._limits = limits
        self._address = ""
        self._header_timer: asyncio.TimerHandle | None = None
        self._is_answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._address = address_of(transport)
        try:
            self._limits.connections.acquire(self._address)
        except CapacityError as e:
            self.close()
            _refuse(transport, e)
            return
        self._limits.open_connections.add(self)
        _notice_loss(transport.get_extra_info("socket"), self._limits.write_timeout_s)
        super().connection_made(transport)
        self._start_header_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self in self._limits.open_connections:
            self._limits.open_connections.remove(self)
            self._limits.connections.release(self._address)
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Whole headers start a handler in the next turn of the loop, and that stops the timer.
        if not self._is_answering and self._header_timer is None and data:
            self._start_header_timer()

    def begin_answer(self) -> None:
        """A handler runs: from here on it is the one to watch the time."""
        self._is_answering = True
        self._stop_header_timer()

    def end_answer(self) -> None:
        """The handler is done; the next request may come until the keep-alive time is over."""
        self._is_answering = False

    def close_if_idle(self) -> None:
        """Close unless a handler runs; `close` would keep the rest of a body from that handler."""
        if not self._is_answering:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not read as HTTP; our handler leaves it nothing else."""
        if request.writer.output_size > 0:
            # aiohttp closes the connection then.
            raise ConnectionError("an answer is on its way already")
        error = RequestError("request: malformed HTTP")
        response = web.Response(
            status=status, body=error_body(error), content_type="application/json", headers=ALWAYS
        )
        response.force_close()
        return response

    def _start_header_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._header_timer = loop.call_later(self._limits.header_timeout_s, self.force_close)

    def _stop_header_timer(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None


def address_of(transport: asyncio.BaseTransport) -> str:
    """The client's; "" once it is gone."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


def _notice_loss(tcp: socket.socket, timeout_s: float) -> None:
    """Have the system end a connection whose other side vanished without a word.

    What is sent lies in the system's buffer, so that nothing else would tell for a quarter of an hour.
    """
    # macOS has other names for the same, one of which Python does not have.
    idle: int = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE")  # noqa: B009
    if sys.platform == "darwin":
        unanswered = (TCP_RXT_CONNDROPTIME, max(1, round(timeout_s)))
    else:
        unanswered = (socket.TCP_USER_TIMEOUT, round(timeout_s * 1000))
    # macOS refuses all options of a connection that has ended already, which its reader finds out.
    with contextlib.suppress(OSError):
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        tcp.setsockopt(socket.IPPROTO_TCP, idle, max(1, round(timeout_s / 2)))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, round(timeout_s / (2 * NUM_PROBES))))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, NUM_PROBES)
        tcp.setsockopt(socket.IPPROTO_TCP, *unanswered)


def _refuse(transport: asyncio.BaseTransport, error: CapacityError) -> None:
    if not isinstance(transport, asyncio.Transport):
        raise TypeError("expected a stream transport")
    body = error_body(error)
    always = "".join(f"{name}: {value}\r\n" for name, value in ALWAYS.items()).encode()
    transport.write(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
        b"%bConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (always, len(body), body)
    )
    transport.close()
