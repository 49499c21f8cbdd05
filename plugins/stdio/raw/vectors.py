"""Embeddings and rerank of the raw personality: from OpenAI's body to its answer."""

from __future__ import annotations

import secrets

from msgspec import Raw

from plugins.openai.translate import asked_terms
from plugins.openai.vector_answer import read_rows, written
from plugins.openai.vector_requests import (
    EmbeddingsBody,
    RerankBody,
    VectorBody,
    embeddings_request,
    rerank_request,
)
from plugins.openai.vector_shapes import embeddings_answer, rerank_answer
from plugins.stdio.jsonrpc import Request
from plugins.stdio.kernel_link import KernelLink
from plugins.submit_terms import SubmitTerms
from plugins.validation import Reader, aside
from plugins.vectors import NumberRows
from transports.messages import Done
from transports.settings import Settings
from transports.vectors import EmbeddingsRequest, RerankRequest


class Vectorizer:
    """The methods that answer with numbers."""

    def __init__(self, kernel: KernelLink, settings: Settings) -> None:
        self._kernel = kernel
        # The same bodies are taken as over HTTP.
        self._max_inputs = settings.http.max_inputs
        self._embeddings = Reader(EmbeddingsBody, strict=True)
        self._rerank = Reader(RerankBody, strict=True)

    async def embeddings(self, request: Request) -> Raw:
        """embeddings.create."""
        params = bytes(request.params)
        body, _ = await self._embeddings.read_aside(params)
        asked = await aside(len(params), embeddings_request, body, self._max_inputs)
        rows, end = await self._ask("embeddings", body, asked)
        return Raw(await written(lambda rows, usage: embeddings_answer(body, rows, usage), rows, end.usage))

    async def rerank(self, request: Request) -> Raw:
        """rerank."""
        params = bytes(request.params)
        body, _ = await self._rerank.read_aside(params)
        asked = await aside(len(params), rerank_request, body, self._max_inputs)
        rows, end = await self._ask("rerank", body, asked)
        id_ = f"rerank-{secrets.token_urlsafe(16)}"
        return Raw(await written(lambda rows, usage: rerank_answer(id_, body, rows, usage), rows, end.usage))

    async def _ask(
        self, task: str, body: VectorBody, asked: EmbeddingsRequest | RerankRequest
    ) -> tuple[NumberRows, Done]:
        client = await self._kernel.client()
        terms = asked_terms(body, SubmitTerms())
        return await read_rows(
            client.submit(task=task, model=body.model, body=asked, **terms._asdict()), asked
        )
