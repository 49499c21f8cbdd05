"""The answers of /v1/embeddings (OpenAI's shape) and /v1/rerank (Jina's and Cohere's)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NotRequired, TypedDict

import msgspec
import pybase64

from plugins.openai.vector_requests import EmbeddingsBody, RerankBody
from plugins.vectors import NumberRows
from transports.messages import Usage

_encode = msgspec.json.Encoder().encode


class VectorUsage(TypedDict):
    """The tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class Embedding(TypedDict):
    """The vector of one input: numbers, or base64 of them as little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(TypedDict):
    """A vector for each input, in their order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: VectorUsage


class RankedText(TypedDict):
    """A document again."""

    text: str


class RankedDocument(TypedDict):
    """How well the document at `index` answers the query."""

    index: int
    relevance_score: float
    document: NotRequired[RankedText]


class Ranking(TypedDict):
    """The best first."""

    id: str
    object: Literal["list"]
    model: str
    results: list[RankedDocument]
    usage: VectorUsage


def embeddings_answer(body: EmbeddingsBody, rows: NumberRows, usage: Usage) -> bytes:
    """The whole answer; takes about a second for a million numbers as floats, a hundredth of it as base64."""
    if body.encoding_format == "base64":
        vectors: Iterable[bytes] = (
            b'"%b"' % pybase64.b64encode(rows.row(index)) for index in range(len(rows))
        )
    else:
        # Row by row: the interpreter may do something else in between.
        vectors = (_encode(rows.floats(index)) for index in range(len(rows)))
    data = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, vector)
        for index, vector in enumerate(vectors)
    )
    return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (
        data,
        _encode(body.model),
        _encode(_usage(usage)),
    )


def rerank_answer(id_: str, body: RerankBody, rows: NumberRows, usage: Usage) -> bytes:
    """The best documents first; of equal ones the first."""
    scores = [rows.floats(index)[0] for index in range(len(rows))]
    ranked = sorted(range(len(scores)), key=lambda index: -scores[index])
    texts = body.texts if body.return_documents else ()
    results: list[RankedDocument] = []
    for index in ranked[: body.top_n]:
        result: RankedDocument = {"index": index, "relevance_score": scores[index]}
        if texts:
            result["document"] = {"text": texts[index]}
        results.append(result)
    return _encode(Ranking(id=id_, object="list", model=body.model, results=results, usage=_usage(usage)))


def _usage(usage: Usage) -> VectorUsage:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
