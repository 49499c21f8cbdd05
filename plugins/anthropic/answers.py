"""What /v1/messages answers, as types: `shapes.py` makes them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Raw, Struct

from plugins.raw_fields import RawObject

StopReason: TypeAlias = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"
]


class ThinkingBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """What the model thought."""

    thinking: str
    signature: str


class TextBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """What it says."""

    text: str
    citations: None = None


class ToolUseBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    """A tool that it calls."""

    id: str
    name: str
    input: RawObject


AnswerBlock: TypeAlias = ThinkingBlock | TextBlock | ToolUseBlock


class OutputDetails(Struct, frozen=True, kw_only=True):
    """What the tokens of an answer were."""

    thinking_tokens: int


class DeltaUsage(Struct, frozen=True, kw_only=True):
    """Tokens; those of the prompt are the sum of three numbers."""

    # Neither found in the prompt cache nor put there by a mark of the client's: there are no such marks here.
    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputDetails


class MessageUsage(DeltaUsage, frozen=True, kw_only=True):
    """The same of a message."""

    service_tier: Literal["standard"] = "standard"


class MessageObject(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """The answer."""

    id: str
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnswerBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage


class TokenCount(Struct, frozen=True, kw_only=True):
    """The answer of /v1/messages/count_tokens."""

    input_tokens: int


class TextDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="text_delta"):
    """More text."""

    text: str


class ThinkingDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="thinking_delta"):
    """More of a thought."""

    thinking: str


class SignatureDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="signature_delta"):
    """The end of a thought."""

    signature: str


class InputDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="input_json_delta"):
    """More of a call's input, all of which is the JSON of an object."""

    partial_json: str


class EndDelta(Struct, frozen=True, kw_only=True):
    """Why the answer ended."""

    stop_reason: StopReason
    stop_sequence: str | None


class MessageStart(Struct, frozen=True, kw_only=True, tag_field="type", tag="message_start"):
    """The first event."""

    message: MessageObject


class BlockStart(Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_start"):
    """A block begins, and is empty."""

    index: int
    content_block: AnswerBlock


class Ping(Struct, frozen=True, kw_only=True, tag_field="type", tag="ping"):
    """Nothing is new."""


class BlockDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_delta"):
    """More of a block."""

    index: int
    delta: TextDelta | ThinkingDelta | SignatureDelta | InputDelta


class BlockStop(Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_stop"):
    """A block is whole."""

    index: int


class MessageDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="message_delta"):
    """Why the answer ended, and what it took."""

    delta: EndDelta
    usage: DeltaUsage


class MessageStop(Struct, frozen=True, kw_only=True, tag_field="type", tag="message_stop"):
    """The last event."""


Event: TypeAlias = MessageStart | BlockStart | Ping | BlockDelta | BlockStop | MessageDelta | MessageStop

NO_INPUT = Raw(b"{}")
