"""The events of a streamed response, and how they go over the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from plugins.json_lines import one_line
from plugins.openai.errors import ErrorObject
from plugins.openai.logprobs import ChatToken
from plugins.responses.shapes import OutputItem, OutputPart

# A whole response that is encoded already.
RawResponse: TypeAlias = Annotated[
    Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/ResponseObject"})
]

_encode = msgspec.json.Encoder().encode


class Numbered(Struct, kw_only=True, tag_field="type"):
    """What all events have."""

    # Set when it is written.
    sequence_number: int = 0


class Created(Numbered, kw_only=True, tag="response.created"):
    """The first one."""

    response: RawResponse


class InProgress(Numbered, kw_only=True, tag="response.in_progress"):
    """The second one."""

    response: RawResponse


class Completed(Numbered, kw_only=True, tag="response.completed"):
    """The last one of a whole answer."""

    response: RawResponse


class Incomplete(Numbered, kw_only=True, tag="response.incomplete"):
    """The last one of an answer that `max_output_tokens` ended."""

    response: RawResponse


class Failed(Numbered, kw_only=True, tag="response.failed"):
    """Of an answer that failed; followed by `Error`."""

    response: RawResponse


class Error(Numbered, kw_only=True, tag="error"):
    """The last one of an answer that failed."""

    code: str
    message: str
    param: str | None
    # OpenAI's SDKs raise for this.
    error: ErrorObject


class ItemAdded(Numbered, kw_only=True, tag="response.output_item.added"):
    """An item begins."""

    output_index: int
    item: OutputItem


class ItemDone(Numbered, kw_only=True, tag="response.output_item.done"):
    """An item is over."""

    output_index: int
    item: OutputItem


class OfItem(Numbered, kw_only=True):
    """What all events have that tell of an item."""

    item_id: str
    output_index: int


class OfPart(OfItem, kw_only=True):
    """What all events have that tell of an item's part; ours have one."""

    content_index: int = 0


class OfSummary(OfItem, kw_only=True):
    """The same for the part of a summary."""

    summary_index: int = 0


class PartAdded(OfPart, kw_only=True, tag="response.content_part.added"):
    """A part begins."""

    part: OutputPart


class PartDone(OfPart, kw_only=True, tag="response.content_part.done"):
    """A part is over."""

    part: OutputPart


class OutputTextDelta(OfPart, kw_only=True, tag="response.output_text.delta"):
    """More of the answer."""

    delta: str
    logprobs: list[ChatToken]


class OutputTextDone(OfPart, kw_only=True, tag="response.output_text.done"):
    """All of it."""

    text: str
    logprobs: list[ChatToken]


class ReasoningTextDelta(OfPart, kw_only=True, tag="response.reasoning_text.delta"):
    """More of a thought."""

    delta: str


class ReasoningTextDone(OfPart, kw_only=True, tag="response.reasoning_text.done"):
    """All of it."""

    text: str


class SummaryPartAdded(OfSummary, kw_only=True, tag="response.reasoning_summary_part.added"):
    """A summary begins."""

    part: OutputPart


class SummaryPartDone(OfSummary, kw_only=True, tag="response.reasoning_summary_part.done"):
    """A summary is over."""

    part: OutputPart


class SummaryTextDelta(OfSummary, kw_only=True, tag="response.reasoning_summary_text.delta"):
    """More of a summary."""

    delta: str


class SummaryTextDone(OfSummary, kw_only=True, tag="response.reasoning_summary_text.done"):
    """All of it."""

    text: str


class ArgumentsDelta(OfItem, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    delta: str


class ArgumentsDone(OfItem, kw_only=True, tag="response.function_call_arguments.done"):
    """All of them."""

    name: str
    arguments: str


ResponseEvent: TypeAlias = (
    Created
    | InProgress
    | Completed
    | Incomplete
    | Failed
    | Error
    | ItemAdded
    | ItemDone
    | PartAdded
    | PartDone
    | OutputTextDelta
    | OutputTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | SummaryPartAdded
    | SummaryPartDone
    | SummaryTextDelta
    | SummaryTextDone
    | ArgumentsDelta
    | ArgumentsDone
)


class EventWriter:
    """Writes the events of one stream."""

    def __init__(self) -> None:
        self._num_written = 0

    def write(self, events: Iterable[ResponseEvent]) -> bytes:
        """The bytes of *events*, in their order."""
        return b"".join(map(self._one, events))

    def _one(self, event: ResponseEvent) -> bytes:
        event.sequence_number = self._num_written
        self._num_written += 1
        name = str(event.__struct_config__.tag).encode()
        return b"event: %b\ndata: %b\n\n" % (name, one_line(_encode(event)))
