"""The bodies of /v1/embeddings and /v1/rerank, and what becomes of them in the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from plugins.openai.requests import MAX_INT32, MAX_PROMPT_TOKENS, PriorityName, TokenId, UserName
from transports.errors import RequestError
from transports.vectors import MAX_ROW_SIZE, EmbeddingsRequest, RerankRequest


class VectorBody(Struct, frozen=True, kw_only=True):
    """What both routes share."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    # Not OpenAI's: cut what is too long for the model, instead of failing.
    truncate: bool | None = None
    # As for a chat.
    user: UserName | None = None
    priority: PriorityName | None = None
    # Ollama's, as for a chat.
    keep_alive: float | Annotated[str, Meta(max_length=40)] | None = None


class EmbeddingsBody(VectorBody, frozen=True, kw_only=True):
    """POST /v1/embeddings."""

    # Text, token ids, or a list of either.
    input: (
        str
        | Annotated[
            list[int | str | Annotated[list[TokenId], Meta(min_length=1, max_length=MAX_PROMPT_TOKENS)]],
            Meta(min_length=1, max_length=MAX_PROMPT_TOKENS),
        ]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=MAX_ROW_SIZE)] | None = None


class Document(Struct, frozen=True, kw_only=True):
    """A document as Jina and Cohere's first version also have it."""

    text: str


class RerankBody(VectorBody, frozen=True, kw_only=True):
    """POST /v1/rerank."""

    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | Document], Meta(min_length=1, max_length=MAX_PROMPT_TOKENS)]
    top_n: Annotated[int, Meta(ge=1, le=MAX_INT32)] | None = None
    return_documents: bool | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """What the documents say."""
        return tuple(one.text if isinstance(one, Document) else one for one in self.documents)


def embeddings_request(body: EmbeddingsBody, max_inputs: int) -> EmbeddingsRequest:
    """The body of submit for /v1/embeddings.

    Raises:
        RequestError: Too many inputs, an empty one, or a list of this and that.
    """
    return EmbeddingsRequest(
        input=_inputs(body.input, max_inputs),
        truncate=bool(body.truncate),
        dimensions=body.dimensions,
    )


def rerank_request(body: RerankBody, max_inputs: int) -> RerankRequest:
    """The body of submit for /v1/rerank.

    Raises:
        RequestError: Too many documents.
    """
    _check_number(body.documents, "documents", max_inputs)
    return RerankRequest(query=body.query, documents=body.texts, truncate=bool(body.truncate))


def _inputs(given: str | list[int | str | list[int]], max_inputs: int) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(given, str):
        return (_not_empty(given, "input"),)
    if isinstance(given[0], int):
        return (tuple(_token(item, i) for i, item in enumerate(given)),)
    _check_number(given, "input", max_inputs)
    kind = type(given[0])
    if not all(isinstance(item, kind) for item in given):
        raise RequestError(
            "input: expected a string, a list of token ids, or a list of one of these, got a mixed list",
            param="input",
        )
    return tuple(
        _not_empty(item, f"input[{i}]") if isinstance(item, str) else tuple(item)
        for i, item in enumerate(given)
        if not isinstance(item, int)
    )


def _token(item: int | str | list[int], index: int) -> int:
    if isinstance(item, int) and 0 <= item <= MAX_INT32:
        return item
    place = f"input[{index}]"
    raise RequestError(f"{place}: expected a token id, an integer in [0, {MAX_INT32}]", param=place)


def _not_empty(text: str, place: str) -> str:
    if not text:
        raise RequestError(f"{place}: expected at least one character, got an empty string", param=place)
    return text


def _check_number(items: Sequence[object], name: str, max_inputs: int) -> None:
    if len(items) > max_inputs:
        raise RequestError(
            f"{name}: expected at most {max_inputs} (http.max_inputs), got {len(items)}", param=name
        )
