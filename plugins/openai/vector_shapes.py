"""The answers of /v1/embeddings (OpenAI's shape) and /v1/rerank (Jina's and Cohere's)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pybase64

from plugins.openai.vector_requests import EmbeddingsBody, RerankBody
from plugins.vectors import NumberRows
from transports.messages import Usage

_encode = msgspec.json.Encoder().encode


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
    results = [
        {
            "index": index,
            "relevance_score": scores[index],
            **({"document": {"text": texts[index]}} if texts else {}),
        }
        for index in ranked[: body.top_n]
    ]
    return _encode(
        {"id": id_, "object": "list", "model": body.model, "results": results, "usage": _usage(usage)}
    )


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
