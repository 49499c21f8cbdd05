"""POST /v1/embeddings and /v1/rerank: from the body to the answer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from aiohttp import web

from plugins.http.asker import terms_of
from plugins.http.body import read_body
from plugins.http.exchange import Exchange
from plugins.openai.translate import keep_alive_s
from plugins.openai.validation import Reader, aside
from plugins.openai.vector_requests import (
    EmbeddingsBody,
    RerankBody,
    VectorBody,
    embeddings_request,
    rerank_request,
)
from plugins.openai.vector_shapes import embeddings_answer, rerank_answer
from plugins.terms import Terms
from plugins.vectors import NumberRows
from transports.errors import RemoteProtocolError, WorkerError
from transports.messages import Done, Usage
from transports.vectors import EmbeddingsRequest, RerankRequest

# Written in a thread, as other answers go on meanwhile: so many bytes of numbers take some 10 ms.
MAX_INLINE_BYTES = 32 * 1024

Write = Callable[[NumberRows, Usage], bytes]


class Vectorizer:
    """The two routes that answer with numbers."""

    def __init__(self, *, strict: bool) -> None:
        self._embeddings = Reader(EmbeddingsBody, strict=strict)
        self._rerank = Reader(RerankBody, strict=strict)

    async def embeddings(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/embeddings."""
        terms = terms_of(exchange.request.headers)
        data = await read_body(exchange.request, exchange.settings)
        body, ignored = await self._embeddings.read_aside(data)
        exchange.note_ignored(ignored)
        request = await aside(len(data), embeddings_request, body, exchange.settings.max_inputs)
        exchange.begin(body.model, f"embd-{secrets.token_urlsafe(16)}")
        return await _answer(
            exchange, body, request, terms, lambda rows, usage: embeddings_answer(body, rows, usage)
        )

    async def rerank(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/rerank."""
        terms = terms_of(exchange.request.headers)
        data = await read_body(exchange.request, exchange.settings)
        body, ignored = await self._rerank.read_aside(data)
        exchange.note_ignored(ignored)
        request = await aside(len(data), rerank_request, body, exchange.settings.max_inputs)
        id_ = f"rerank-{secrets.token_urlsafe(16)}"
        exchange.begin(body.model, id_)
        return await _answer(
            exchange, body, request, terms, lambda rows, usage: rerank_answer(id_, body, rows, usage)
        )


async def _answer(
    exchange: Exchange,
    body: VectorBody,
    request: EmbeddingsRequest | RerankRequest,
    terms: Terms,
    write: Write,
) -> web.Response:
    terms = terms._replace(keep_alive_s=keep_alive_s(body))
    task = "embeddings" if isinstance(request, EmbeddingsRequest) else "rerank"
    submission = exchange.submit(task=task, model=body.model, body=request, terms=terms)
    rows: NumberRows | None = None
    end: Done | None = None
    # Leaving the block cancels what has not ended.
    async with submission:
        async for update in submission:
            match update:
                case NumberRows():
                    rows = update
                case Done():
                    end = update
                case _:
                    pass
    if end and end.finish_reason == "cancelled":
        raise WorkerError("the request was cancelled inside the server")
    num_wanted = len(request.input) if isinstance(request, EmbeddingsRequest) else len(request.documents)
    if rows is None or end is None or len(rows) != num_wanted:
        raise RemoteProtocolError(
            f"the worker gave {len(rows or ())} rows of numbers for {num_wanted} inputs"
        )
    exchange.ends.append(end)
    if len(rows.values) <= MAX_INLINE_BYTES:
        return exchange.json(write(rows, end.usage))
    return exchange.json(await asyncio.to_thread(write, rows, end.usage))
