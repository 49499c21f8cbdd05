"""Pages of other origins that a person has allowed: which they are, and what browsers ask and are told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from aiohttp import web

from plugins.http.exchange import Exchange
from transports.errors import ConfigError

# As browsers send it: scheme, host, perhaps a port; no path, and nothing that stands for many.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
# RFC 9110: a list of header names. SDKs send a dozen of their own.
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,2000}")
METHODS = "GET, HEAD, POST, DELETE"
# Headers of answers that a page may read besides those that every page may.
EXPOSED = "Retry-After, X-Mlxd-Ignored, X-Request-Id, X-Should-Retry"
# A browser need not ask again for so long.
MAX_AGE_S = 600


def read_origins(origins: Iterable[str]) -> frozenset[str]:
    """`http.allowed_origins`.

    Raises:
        ConfigError: One of them is no origin.
    """
    given = frozenset(origins)
    for origin in sorted(given):
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"http.allowed_origins: expected origins such as http://localhost:3000, in small letters and "
                f"without a path, got {origin!r}"
            )
    return given


def allowing(origin: str) -> dict[str, str]:
    """The headers with which a browser gives an answer to a page of *origin*."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSED,
        "Vary": "Origin",
    }


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks what a page may send."""
    return method == "OPTIONS" and "Access-Control-Request-Method" in headers


async def preflight(exchange: Exchange) -> web.StreamResponse:
    """The answer to that; it carries no key, and tells nothing but that the origin is allowed."""
    wanted = exchange.request.headers.get("Access-Control-Request-Headers", "")
    told = {
        **exchange.headers,
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Max-Age": str(MAX_AGE_S),
    }
    if wanted and _HEADER_NAMES.fullmatch(wanted):
        told["Access-Control-Allow-Headers"] = wanted
    return web.Response(status=204, headers=told)
