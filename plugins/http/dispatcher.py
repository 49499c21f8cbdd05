"""What happens around each handler: gate, keys, errors, log, counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from urllib.parse import unquote

from aiohttp import web

from plugins.client import KernelClient
from plugins.http.connection import Connection
from plugins.http.cors import allowing, is_preflight, preflight, read_origins
from plugins.http.dialect import ANTHROPIC, OPENAI, Dialect
from plugins.http.errors import error_headers
from plugins.http.exchange import Exchange
from plugins.http.gate import Gate, is_framed_clearly
from plugins.http.keyring import Keyring
from plugins.http.metrics import Metrics
from plugins.http.route import Answer, Route
from plugins.http.routes import routes
from plugins.media.intake import MediaIntake
from transports.errors import Forbidden, MethodNotAllowed, MlxdError, NotFound, RequestError
from transports.logs import get_logger
from transports.settings import HttpSettings

# The log's status for a client that left before the answer: nginx's number.
CLIENT_GONE = 499

log = get_logger()

# What browsers ask before a page of an allowed origin may; on every path.
PREFLIGHT = Route(
    "OPTIONS", "*", preflight, "Whether a page may ask.", "Server", Answer(schema=str), access="open"
)


class Dispatcher:
    """Answers requests; every one of them gets exactly one answer and one line in the log."""

    def __init__(
        self, settings: HttpSettings, client: KernelClient, intake: MediaIntake, keyring: Keyring
    ) -> None:
        self._settings = settings
        self._client = client
        self._intake = intake
        self._keyring = keyring
        self._gate = Gate(settings.host, settings.allowed_hosts, read_origins(settings.allowed_origins))
        self._metrics = Metrics()
        self._routes = routes(settings, self._metrics)
        self.idle = asyncio.Event()
        self.idle.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Called by aiohttp for each request."""
        exchange = Exchange(request, self._client, self._settings, self._intake, self._keyring)
        exchange.speak(_dialect_of(self._routes, request))
        connection = request.protocol
        if not isinstance(connection, Connection):
            raise TypeError("expected our own connection class")
        connection.begin_answer()
        self._metrics.num_active += 1
        self.idle.clear()
        began = monotonic()
        route: Route | None = None
        status = CLIENT_GONE
        try:
            try:
                route = await self._admit(exchange)
                response = await route.handler(exchange)
            except MlxdError as e:
                response = await _failed(exchange, e)
            except (ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("handler_failed", route=_name(route))
                response = await _failed(exchange, MlxdError("internal error; the log has more"))
            if self._client.stopping.is_set() or not _is_clear(request):
                response.force_close()
            await self._write(response, exchange)
            status = response.status
            return response
        finally:
            connection.end_answer()
            self._metrics.num_active -= 1
            if not self._metrics.num_active:
                self.idle.set()
            duration_s = monotonic() - began
            self._metrics.measures.ended(
                _name(route), status, exchange.error_code, exchange.model, duration_s, exchange.ends
            )
            log.info(
                "request_ended",
                method=request.method,
                route=_name(route),
                status=status,
                code=exchange.error_code,
                key=exchange.key.name if exchange.key else "",
                model=exchange.model,
                request_id=exchange.request_id,
                duration_s=round(duration_s, 4),
            )

    async def _admit(self, exchange: Exchange) -> Route:
        """Find the route of a request that may take it.

        Raises:
            RequestError: It comes from where we do not answer, has no key that would do, or no route.
            RateLimited: Its key has had its requests.
        """
        request = exchange.request
        if not _is_clear(request):
            raise RequestError("request: expected HTTP/1.1, or HTTP/1.0 without Transfer-Encoding")
        origin = self._gate.check(request.headers, _local_address(request))
        if origin is not None:
            exchange.headers |= allowing(origin)
            if is_preflight(request.method, request.headers):
                return PREFLIGHT
        target = request.raw_path
        if not target.startswith("/"):
            raise RequestError("request: expected a path that begins with /")
        path = target.partition("?")[0]
        found = [route for route in self._routes if route.rest_of(path) is not None]
        # The first one says what is there: what a response was asked with is no response.
        found = [route for route in found if route.path == found[0].path]
        method = "GET" if request.method == "HEAD" else request.method
        route = next((route for route in found if route.method == method), None)
        # What is no route is closed too: without a key nobody learns which there are.
        if route is None or route.access != "open":
            await self._identify(exchange, route)
        if route is None:
            raise _no_route(exchange, found)
        exchange.rest = unquote(route.rest_of(path) or "")
        if route.body:
            exchange.body_limit = route.body.limit(self._settings)
        return route

    async def _identify(self, exchange: Exchange, route: Route | None) -> None:
        key = exchange.key = await self._keyring.admit(exchange.request.headers)
        if key is None:
            return
        self._keyring.count(key)
        if route and route.access == "admin" and key.scope != "admin":
            raise Forbidden("this API key may not administrate; `mlxd keys new NAME --admin` makes one")

    async def _write(self, response: web.StreamResponse, exchange: Exchange) -> None:
        """Send the answer while we still watch the time; aiohttp would wait for ever."""
        transport = exchange.request.transport
        if transport is None or transport.is_closing():
            return
        try:
            async with asyncio.timeout(self._settings.write_timeout_s):
                await response.prepare(exchange.request)
                await response.write_eof()
        except TimeoutError:
            transport.abort()


async def _failed(exchange: Exchange, error: MlxdError) -> web.StreamResponse:
    error = await exchange.discreet(error)
    exchange.error_code = error.code
    if exchange.stream and exchange.stream.is_started:
        await exchange.stream.abort(error)
        log.warning("stream_aborted", request_id=exchange.request_id, code=error.code)
        return exchange.stream.response
    return web.Response(
        status=exchange.dialect.status(error),
        body=exchange.dialect.body(error, exchange.request_id),
        content_type="application/json",
        headers={**exchange.headers, **error_headers(error)},
    )


def _no_route(exchange: Exchange, found: list[Route]) -> MlxdError:
    if not found:
        return NotFound("path: no such route; docs/api.md has them all")
    allowed = [route.method for route in found]
    exchange.headers["Allow"] = ", ".join(allowed)
    return MethodNotAllowed(f"method: expected {' or '.join(allowed)} on this path")


def _dialect_of(routes: Sequence[Route], request: web.BaseRequest) -> Dialect:
    """Of whatever is asked for, also where that is no route."""
    # Sent with every request by whoever speaks that API, and by nobody else.
    if "anthropic-version" in request.headers:
        return ANTHROPIC
    path = request.raw_path.partition("?")[0]
    near = (route for route in routes if path == route.path or path.startswith(f"{route.path}/"))
    return next((route.dialect for route in near), OPENAI)


def _is_clear(request: web.BaseRequest) -> bool:
    return is_framed_clearly(request.version, request.headers)


def _local_address(request: web.BaseRequest) -> str:
    """The address of ours that the client connected to; "" if it has gone."""
    address = request.transport.get_extra_info("sockname") if request.transport else None
    return str(address[0]) if address else ""


def _name(route: Route | None) -> str:
    return route.path if route else "none"
