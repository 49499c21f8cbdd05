"""Reads a request's body within limits of size and time."""

from __future__ import annotations

import asyncio

from aiohttp import ClientPayloadError, web

from plugins.http.exchange import Exchange
from plugins.http.gate import check_body_headers, check_size
from transports.errors import RequestError, RequestTimeout


async def read_body(exchange: Exchange) -> bytearray:
    """The whole body of a JSON request.

    Raises:
        RequestError: Not JSON by its headers, too large, too slow, or broken off.
    """
    request, settings, limit = exchange.request, exchange.settings, exchange.body_limit
    check_body_headers(request.headers, request.content_length, limit)
    if "Expect" in request.headers and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # Pictures make bodies of megabytes: what arrives goes straight to its place, with room for all of it.
    body = bytearray(request.content_length or 0)
    num_bytes = 0
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            while part := (await request.content.readchunk())[0]:
                check_size(num_bytes + len(part), limit)
                body[num_bytes : num_bytes + len(part)] = part
                num_bytes += len(part)
    except TimeoutError:
        raise RequestTimeout(f"body: did not arrive within {settings.body_timeout_s:g} s") from None
    except (web.RequestPayloadError, ClientPayloadError) as e:
        raise RequestError("body: malformed transfer encoding") from e
    return body
