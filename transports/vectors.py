"""What is said of vectors and scores: the bodies of embeddings and rerank, and the item that answers them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from transports.envelope import Message, RequestId

# Texts of one request; `http.max_inputs` is the setting below it.
MAX_INPUTS = 16_384
# Numbers of one vector.
MAX_ROW_SIZE = 65_536


class EmbeddingsRequest(Message, frozen=True, kw_only=True):
    """Frontend -> worker, the body of submit with task "embeddings". Followed by events or failed."""

    # Each a text, or token ids of shape (num_tokens,) that are taken as they are.
    input: Annotated[tuple[str | tuple[int, ...], ...], Meta(min_length=1, max_length=MAX_INPUTS)]
    # Cut an input that is too long for the model, instead of failing.
    truncate: bool = False
    # Numbers of a vector; None: all that the model gives.
    dimensions: Annotated[int, Meta(ge=1, le=MAX_ROW_SIZE)] | None = None


class RerankRequest(Message, frozen=True, kw_only=True):
    """Frontend -> worker, the body of submit with task "rerank". Followed by events or failed."""

    query: str
    documents: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_INPUTS)]
    # Cut a document that is too long for the model beside the query, instead of failing.
    truncate: bool = False


class Vectors(Message, tag="vectors", frozen=True, kw_only=True):
    """An item of events: all numbers of one embeddings or rerank. Followed by Done.

    They are little-endian float32 of shape (num_rows, row_size), row by row: a row for each input, or for
    each document the one number of its score.
    """

    id: RequestId
    # Which frame holds them, counted from the first after the body.
    buffer: Annotated[int, Meta(ge=0, le=1024)]
    num_rows: Annotated[int, Meta(ge=1, le=MAX_INPUTS)]
    row_size: Annotated[int, Meta(ge=1, le=MAX_ROW_SIZE)]
