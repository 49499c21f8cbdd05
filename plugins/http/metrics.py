"""GET /metrics: what a Prometheus server scrapes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module

from aiohttp import web

from plugins.http.exchange import KERNEL_TIMEOUT_S, Exchange
from plugins.http.measures import Measures
from transports.errors import MlxdError
from transports.reports import StatusReply

Exposition = Callable[[str, Measures, int, StatusReply | None], tuple[bytes, str]]


class Metrics:
    """The route, with the counts that it tells."""

    def __init__(self) -> None:
        self.measures = Measures()
        # Requests that are being answered.
        self.num_active = 0

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """GET /metrics."""
        status = await _status(exchange)
        accept = exchange.request.headers.get("Accept", "")
        # In a thread, as streams go on meanwhile: with hundreds of models it takes 0.1 s.
        body, content_type = await asyncio.to_thread(
            _written, accept, self.measures.copy(), self.num_active, status
        )
        return web.Response(body=body, headers={**exchange.headers, "Content-Type": content_type})


def _written(
    accept: str, measures: Measures, num_active: int, status: StatusReply | None
) -> tuple[bytes, str]:
    # Imported here: few ask.
    exposition: Exposition = import_module("plugins.http.exposition").exposition
    return exposition(accept, measures, num_active, status)


async def _status(exchange: Exchange) -> StatusReply | None:
    try:
        async with asyncio.timeout(KERNEL_TIMEOUT_S):
            return await exchange.client.status()
    except (TimeoutError, MlxdError):
        return None
