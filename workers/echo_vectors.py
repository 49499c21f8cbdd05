"""Embeddings and rerank without a model: equal texts get equal numbers. For tests and plugin authors."""

from __future__ import annotations

import hashlib
import math
from array import array
from dataclasses import dataclass, field

from transports.errors import ContextLengthExceeded, RequestError
from transports.messages import Usage
from transports.vectors import EmbeddingsRequest, RerankRequest
from workers.engine import Numbers

# Of a digest; the largest vector that echo gives.
MAX_VECTOR_SIZE = 32


@dataclass(slots=True)
class VectorRow:
    """A request that gets one input done a step."""

    id: str
    # Per input its words.
    inputs: list[list[str]]
    row_size: int
    # The words to look for; None for embeddings.
    query: list[str] | None = None
    values: array[float] = field(default_factory=lambda: array("f"))
    num_done: int = 0

    @property
    def usage(self) -> Usage:
        """Each word is a token; the query is read once for each document."""
        num_words = sum(len(words) + len(self.query or ()) for words in self.inputs)
        return Usage(prompt_tokens=num_words, completion_tokens=0)

    def advance(self) -> Numbers | None:
        """Do the next input; the whole answer once all are done."""
        words = self.inputs[self.num_done]
        self.values.extend(embed(words, self.row_size) if self.query is None else [score(self.query, words)])
        self.num_done += 1
        if self.num_done < len(self.inputs):
            return None
        return Numbers(
            id=self.id,
            values=memoryview(self.values).cast("B"),
            num_rows=len(self.inputs),
            row_size=self.row_size,
            usage=self.usage,
        )


def vector_row(
    request_id: str, body: EmbeddingsRequest | RerankRequest, vector_size: int, context_length: int
) -> VectorRow:
    """A request as echo takes it.

    Raises:
        RequestError: An input that is too long, or more dimensions than there are.
    """
    if isinstance(body, RerankRequest):
        words = [
            _words(text, f"documents[{i}]", context_length, truncate=body.truncate)
            for i, text in enumerate(body.documents)
        ]
        return VectorRow(id=request_id, inputs=words, row_size=1, query=body.query.split())
    size = body.dimensions or vector_size
    if size > vector_size:
        raise RequestError(f"dimensions: expected at most {vector_size}, got {size}", param="dimensions")
    words = [
        _words(one, f"input[{i}]", context_length, truncate=body.truncate) for i, one in enumerate(body.input)
    ]
    return VectorRow(id=request_id, inputs=words, row_size=size)


def embed(words: list[str], size: int) -> list[float]:
    """A vector of length 1 that depends on the words alone."""
    digest = hashlib.blake2b(" ".join(words).encode(), digest_size=MAX_VECTOR_SIZE).digest()
    numbers = [byte - 127.5 for byte in digest[:size]]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


def score(query: list[str], words: list[str]) -> float:
    """The part of the query's words that is there, in [0, 1]."""
    return sum(word in words for word in query) / len(query) if query else 0.0


def _words(text: str | tuple[int, ...], place: str, context_length: int, *, truncate: bool) -> list[str]:
    words = text.split() if isinstance(text, str) else [str(token) for token in text]
    if len(words) > context_length and not truncate:
        raise ContextLengthExceeded(
            f"{place}: expected at most {context_length} words, got {len(words)}", param=place
        )
    return words[:context_length]
