"""The table of routes, and what happens around each handler: gate, errors, log, counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from urllib.parse import unquote

from aiohttp import web

from plugins.client import KernelClient
from plugins.http import info
from plugins.http.connection import Connection
from plugins.http.errors import error_headers
from plugins.http.exchange import Exchange
from plugins.http.gate import Gate
from plugins.http.generate import Generator
from plugins.http.metrics import Metrics
from plugins.media.intake import MediaIntake
from plugins.openai.errors import error_body
from transports.errors import MethodNotAllowed, MlxdError, NotFound, RequestError
from transports.logs import get_logger
from transports.settings import HttpSettings

# The log's status for a client that left before the answer: nginx's number.
CLIENT_GONE = 499

log = get_logger()

Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """A method and a path; a path that ends in "/*" takes everything below it."""

    method: str
    path: str
    handler: Handler


def routes(settings: HttpSettings, metrics: Metrics) -> tuple[Route, ...]:
    """All routes. HEAD goes with GET."""
    generator = Generator(strict=settings.strict)
    return (
        Route("GET", "/health", info.health),
        Route("GET", "/ready", info.ready),
        Route("GET", "/metrics", metrics.answer),
        Route("GET", "/v1/models", info.models),
        Route("GET", "/v1/models/*", info.model),
        Route("POST", "/v1/chat/completions", generator.chat),
        Route("POST", "/v1/completions", generator.completion),
    )


class Dispatcher:
    """Answers requests; every one of them gets exactly one answer and one line in the log."""

    def __init__(self, settings: HttpSettings, client: KernelClient, intake: MediaIntake) -> None:
        self._settings = settings
        self._client = client
        self._intake = intake
        self._gate = Gate(settings.host, settings.allowed_hosts)
        self._metrics = Metrics()
        self._routes = routes(settings, self._metrics)
        self.idle = asyncio.Event()
        self.idle.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Called by aiohttp for each request."""
        exchange = Exchange(request, self._client, self._settings, self._intake)
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
                route = self._route(exchange)
                response = await route.handler(exchange)
            except MlxdError as e:
                response = await _failed(exchange, e)
            except (ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("handler_failed", route=_name(route))
                response = await _failed(exchange, MlxdError("internal error; the log has more"))
            if self._client.stopping.is_set():
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
                model=exchange.model,
                request_id=exchange.request_id,
                duration_s=round(duration_s, 4),
            )

    def _route(self, exchange: Exchange) -> Route:
        request = exchange.request
        self._gate.check(request.headers)
        target = request.raw_path
        if not target.startswith("/"):
            raise RequestError("request: expected a path that begins with /")
        path = target.partition("?")[0]
        method = "GET" if request.method == "HEAD" else request.method
        allowed = []
        for route in self._routes:
            if not _matches(route.path, path):
                continue
            if route.method == method:
                if route.path.endswith("*"):
                    exchange.rest = unquote(path[len(route.path) - 1 :])
                return route
            allowed.append(route.method)
        if allowed:
            exchange.headers["Allow"] = ", ".join(allowed)
            raise MethodNotAllowed(f"method: expected {' or '.join(allowed)} on this path")
        raise NotFound("path: no such route; docs/api.md has them all")

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
    exchange.error_code = error.code
    if exchange.stream and exchange.stream.is_started:
        await exchange.stream.abort(error)
        log.warning("stream_aborted", request_id=exchange.request_id, code=error.code)
        return exchange.stream.response
    return web.Response(
        status=error.http_status,
        body=error_body(error),
        content_type="application/json",
        headers={**exchange.headers, **error_headers(error)},
    )


def _matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1]) and len(path) >= len(pattern)
    return path == pattern


def _name(route: Route | None) -> str:
    return route.path if route else "none"
