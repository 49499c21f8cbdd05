"""GET /openapi.json: all routes, in a form for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module

import msgspec
from aiohttp import web

from plugins.http.exchange import Exchange
from plugins.http.route import Route


class Reference:
    """The routes that describe all routes."""

    def __init__(self) -> None:
        # Set when the table of them is whole.
        self.routes: Sequence[Route] = ()
        self._document = b""

    async def document(self, exchange: Exchange) -> web.Response:
        """GET /openapi.json."""
        if not self._document:
            # In a thread, as streams go on meanwhile.
            self._document = await asyncio.to_thread(self._write)
        return exchange.json(self._document)

    def _write(self) -> bytes:
        module = import_module("plugins.http.openapi")
        return msgspec.json.encode(module.document(self.routes))
