"""GET /openapi.json and /docs: all routes, for programs and for people."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import NamedTuple

import msgspec
from aiohttp import web

from plugins.http.exchange import Exchange
from plugins.http.route import Route


class Reference:
    """The routes that describe all routes."""

    def __init__(self) -> None:
        # Set when the table of them is whole.
        self.routes: Sequence[Route] = ()
        self._written: _Written | None = None

    async def document(self, exchange: Exchange) -> web.Response:
        """GET /openapi.json."""
        return exchange.json((await self._read()).document)

    async def page(self, exchange: Exchange) -> web.Response:
        """GET /docs."""
        written = await self._read()
        request = exchange.request
        # The gate has looked at this Host.
        base = f"{request.scheme}://{request.headers['Host']}"
        return web.Response(
            text=written.page.replace(written.base, escape(base)),
            content_type="text/html",
            charset="utf-8",
            headers={**exchange.headers, **written.page_headers},
        )

    async def _read(self) -> _Written:
        if self._written is None:
            # In a thread, as streams go on meanwhile.
            self._written = await asyncio.to_thread(_write, self.routes)
        return self._written


class _Written(NamedTuple):
    document: bytes
    page: str
    page_headers: dict[str, str]
    # Stands in the page for the address that it is asked at.
    base: str


def _write(routes: Sequence[Route]) -> _Written:
    # Imported here: few ask.
    document = import_module("plugins.http.openapi").document(routes)
    page = import_module("plugins.http.reference_page")
    return _Written(msgspec.json.encode(document), page.page(document), page.HEADERS, page.BASE)
