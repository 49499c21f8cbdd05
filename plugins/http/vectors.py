"""POST /v1/embeddings and /v1/rerank: from the body to the answer."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from aiohttp import web

from plugins.http.body import read_body
from plugins.http.exchange import Exchange
from plugins.http.request_headers import terms_of
from plugins.openai.translate import asked_terms, user_of
from plugins.openai.vector_answer import read_rows, written
from plugins.openai.vector_requests import (
    EmbeddingsBody,
    RerankBody,
    VectorBody,
    embeddings_request,
    rerank_request,
)
from plugins.openai.vector_shapes import embeddings_answer, rerank_answer
from plugins.submit_terms import SubmitTerms
from plugins.validation import Reader, aside
from plugins.vectors import NumberRows
from transports.messages import Usage
from transports.vectors import EmbeddingsRequest, RerankRequest

Write = Callable[[NumberRows, Usage], bytes]


class Vectorizer:
    """The two routes that answer with numbers."""

    def __init__(self, *, strict: bool) -> None:
        self._embeddings = Reader(EmbeddingsBody, strict=strict)
        self._rerank = Reader(RerankBody, strict=strict)

    async def embeddings(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/embeddings."""
        terms = terms_of(exchange.request.headers)
        data = await read_body(exchange)
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
        data = await read_body(exchange)
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
    terms: SubmitTerms,
    write: Write,
) -> web.Response:
    terms = asked_terms(body, terms)
    exchange.user = user_of(body)
    task = "embeddings" if isinstance(request, EmbeddingsRequest) else "rerank"
    submission = exchange.submit(task=task, model=body.model, body=request, terms=terms)
    rows, end = await read_rows(submission, request)
    exchange.ends.append(end)
    return exchange.json(await written(write, rows, end.usage))
