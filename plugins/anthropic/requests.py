"""The bodies that the Anthropic routes take, field by field; what is not here is unknown.

Bounds are those of `transports.messages`, so that a wrong value is refused at the door.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from plugins.openai.requests import MAX_INT32, StopString
from plugins.openai.tools import FunctionName
from plugins.raw_fields import NULL, RawNull, RawObject, RawString
from transports.tools import MAX_JSON_CHARS, MAX_TOOLS, CallId

Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]


class BlockSource(Struct, frozen=True, kw_only=True):
    """Where a picture or document comes from; `content.py` says which fields count for which type."""

    type: str
    # What it is, only its bytes say.
    media_type: str | None = None
    # A string that stays in the body: as one of ours, a photograph's megabytes cost 5 ms.
    data: RawString = NULL
    url: str | None = None
    # Of a file that was sent before, which we do not keep.
    file_id: str | None = None
    # Of a document that is made of blocks.
    content: str | Blocks | None = None


class Citations(Struct, frozen=True, kw_only=True):
    """Whether the answer is to say where it has something from."""

    enabled: bool | None = None


class Block(Struct, frozen=True, kw_only=True):
    """A block of content; `content.py` says which fields count for which type."""

    type: str
    text: str | None = None
    # Of a search result: its address.
    source: BlockSource | str | None = None
    title: str | None = None
    context: str | None = None
    # Of a document; blocks of text have a list.
    citations: Citations | list[RawObject] | None = None
    thinking: str | None = None
    # Of a thought: counts where its text was left out.
    signature: str | None = None
    # A call of a tool, and its result.
    id: CallId | None = None
    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    input: RawObject = NULL
    tool_use_id: CallId | None = None
    content: str | Blocks | Block | None = None
    is_error: bool | None = None
    tool_name: str | None = None


Blocks: TypeAlias = Annotated[list[Block], Meta(max_length=1024)]


class MessageTurn(Struct, frozen=True, kw_only=True):
    """A turn as Anthropic's clients send it."""

    role: Literal["user", "assistant", "system"]
    content: str | Blocks


class MessageTool(Struct, frozen=True, kw_only=True):
    """A tool of the client, or one that Anthropic has defined; `tools.py` says which of them are known."""

    type: str | None = None
    name: FunctionName | None = None
    description: Annotated[str, Meta(max_length=MAX_JSON_CHARS)] | None = None
    # JSON Schema; for the model, which reads it as text.
    input_schema: RawObject = NULL
    strict: bool | None = None
    input_examples: list[RawObject] | None = None
    # Its input is streamed as it is written, although it may break off.
    eager_input_streaming: bool | None = None


class MessageToolChoice(Struct, frozen=True, kw_only=True):
    """Whether and which tools are called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, frozen=True, kw_only=True):
    """Whether, and how long, the model thinks; and whether the client sees it."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Meta(ge=1, le=MAX_INT32)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(Struct, frozen=True, kw_only=True):
    """What the answer keeps to."""

    type: Literal["json_schema"]
    schema: RawObject = NULL


class OutputConfig(Struct, frozen=True, kw_only=True):
    """How the answer is to be."""

    effort: Effort | None = None
    format: OutputFormat | None = None


class CountBody(Struct, frozen=True, kw_only=True):
    """POST /v1/messages/count_tokens, and what both routes share."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[MessageTurn], Meta(min_length=1, max_length=4096)]
    system: str | Blocks | None = None
    tools: Annotated[list[MessageTool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: MessageToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    # What output_config.format was before.
    output_format: OutputFormat | None = None
    # Not Anthropic's: how long the model stays in memory after this.
    keep_alive: float | Annotated[str, Meta(max_length=40)] | None = None
    # Taken only empty: `translate.py` says why.
    container: RawNull = NULL
    mcp_servers: RawNull = NULL
    thread: RawNull = NULL


class MessagesBody(CountBody, frozen=True, kw_only=True):
    """POST /v1/messages."""

    # 0: the prompt is read, and stays in the prompt cache.
    max_tokens: Annotated[int, Meta(ge=0, le=MAX_INT32)]
    stream: bool | None = None
    stop_sequences: Annotated[list[StopString], Meta(max_length=16)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=MAX_INT32)] | None = None


# Anthropic's fields that are taken and have no effect here.
WITHOUT_EFFECT = frozenset(
    {
        "betas",
        "billing_policy",
        "cache_control",
        "compaction",
        "context_management",
        "diagnostics",
        "fallback_credit_token",
        "fallbacks",
        "inference_geo",
        "metadata",
        "service_tier",
        "speed",
        "user_profile_id",
        "workspace_id",
    }
)
