"""GET /metrics: what a Prometheus server scrapes."""

from __future__ import annotations

import asyncio
from importlib import import_module

from aiohttp import web

from plugins.http.exchange import KERNEL_TIMEOUT_S, Exchange
from plugins.http.measures import Measures
from transports.errors import MlxdError
from transports.reports import StatusReply


class Metrics:
    """The route, with the counts that it tells."""

    def __init__(self) -> None:
        self.measures = Measures()
        # Requests that are being answered.
        self.num_active = 0

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """GET /metrics."""
        status = await _status(exchange)
        # In a thread the first time, as streams go on meanwhile.
        module = await asyncio.to_thread(import_module, "plugins.http.exposition")
        accept = exchange.request.headers.get("Accept", "")
        body, content_type = module.exposition(accept, self.measures, self.num_active, status)
        return web.Response(body=body, headers={**exchange.headers, "Content-Type": content_type})


async def _status(exchange: Exchange) -> StatusReply | None:
    try:
        async with asyncio.timeout(KERNEL_TIMEOUT_S):
            return await exchange.client.status()
    except (TimeoutError, MlxdError):
        return None
