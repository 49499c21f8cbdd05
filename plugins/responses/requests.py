"""The body of POST /v1/responses, field by field; what is not here is unknown."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from plugins.media.picture import Detail
from plugins.openai.requests import MAX_INT32, ConversationBody
from plugins.openai.tools import Effort, FunctionName
from plugins.raw_fields import NULL, RawNull, RawObject, RawString
from transports.tools import MAX_JSON_CHARS, MAX_TOOLS, CallId, Json

# Of a response and of an item: ours are shorter.
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Role = Literal["user", "assistant", "system", "developer"]
Status = Literal["in_progress", "completed", "incomplete"]
Summary = Literal["auto", "concise", "detailed"]
Includable = Literal[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]
# OpenAI's limits.
MetadataKey: TypeAlias = Annotated[str, Meta(max_length=64)]
MetadataValue: TypeAlias = Annotated[str, Meta(max_length=512)]
Metadata: TypeAlias = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)]


class ItemPart(Struct, frozen=True, kw_only=True):
    """A part of a message, a result or a thought; `parts.py` says which fields count for which type."""

    type: str
    text: str | None = None
    refusal: str | None = None
    # A string that stays in the body: as one of ours, a photograph's megabytes cost 5 ms.
    image_url: RawString = NULL
    detail: Detail | None = None
    file_data: str | None = None
    file_url: str | None = None
    # Of a file that was sent before, which we do not keep.
    file_id: str | None = None
    filename: Annotated[str, Meta(max_length=1024)] | None = None


ItemParts: TypeAlias = Annotated[list[ItemPart], Meta(max_length=1024)]


class Item(Struct, frozen=True, kw_only=True):
    """An item of a conversation, sent or kept; `items.py` says what counts for which type."""

    # OpenAI: a message need not say that it is one.
    type: str | None = None
    id: Id | None = None
    status: Status | None = None
    # Of a message; `content` of a thought, too.
    role: Role | None = None
    content: str | ItemParts | None = None
    # Of a call of a function.
    call_id: CallId | None = None
    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    arguments: Json | None = None
    # Where the function has one.
    namespace: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    # Of its result.
    output: str | ItemParts | None = None
    # Of a thought.
    summary: ItemParts | None = None
    encrypted_content: str | None = None


class Function(Struct, frozen=True, kw_only=True):
    """A tool that is one, or one in a namespace; only functions are known."""

    type: str
    name: FunctionName | None = None
    description: Annotated[str, Meta(max_length=MAX_JSON_CHARS)] | None = None
    # JSON Schema; for the model, which reads it as text.
    parameters: RawObject = NULL
    strict: bool | None = None


class ResponseTool(Function, frozen=True, kw_only=True):
    """A function, or a namespace of some."""

    tools: Annotated[list[Function], Meta(max_length=MAX_TOOLS)] | None = None


class NamedTool(Struct, frozen=True, kw_only=True):
    """Which tool."""

    type: str
    name: str | None = None


class ToolChoiceObject(Struct, frozen=True, kw_only=True):
    """A tool that must be called, or those that may be."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: Annotated[list[NamedTool], Meta(min_length=1, max_length=MAX_TOOLS)] | None = None


class TextFormat(Struct, frozen=True, kw_only=True):
    """What the answer keeps to; a schema is always kept to, strict or not."""

    type: str
    schema: RawObject = NULL
    name: Annotated[str, Meta(max_length=256)] | None = None
    description: str | None = None
    strict: bool | None = None


class TextConfig(Struct, frozen=True, kw_only=True):
    """How the answer is written."""

    format: TextFormat | None = None
    # Taken where it asks for what is done anyway.
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningConfig(Struct, frozen=True, kw_only=True):
    """How long the model thinks, and how its thoughts are shown."""

    effort: Effort | None = None
    summary: Summary | None = None
    # Its old name.
    generate_summary: Summary | None = None
    # Without effect.
    context: str | None = None
    mode: str | None = None

    @property
    def wanted_summary(self) -> Summary | None:
        """Which one, under either name."""
        return self.summary or self.generate_summary


class ResponseBody(ConversationBody, frozen=True, kw_only=True):
    """POST /v1/responses."""

    input: str | Annotated[list[Item], Meta(max_length=4096)] | None = None
    instructions: str | None = None
    previous_response_id: Id | None = None
    # Whether the response can be asked for, and gone on from, later.
    store: bool | None = None
    metadata: Metadata | None = None
    include: Annotated[list[Includable], Meta(max_length=64)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=MAX_INT32)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    text: TextConfig | None = None
    tools: Annotated[list[ResponseTool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | ToolChoiceObject | None = None
    reasoning: ReasoningConfig | None = None
    truncation: Literal["auto", "disabled"] | None = None
    # One answer, whatever the other routes can do.
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    # Refused.
    background: bool | None = None
    conversation: RawNull = NULL
    moderation: RawNull = NULL
    prompt: RawNull = NULL

    @property
    def format(self) -> TextFormat:
        """What the answer keeps to."""
        return (self.text and self.text.format) or TextFormat(type="text")

    @property
    def thinking(self) -> ReasoningConfig:
        """How the model thinks."""
        return self.reasoning or ReasoningConfig()


# OpenAI's fields that are taken and have no effect here.
WITHOUT_EFFECT = frozenset(
    {
        "access_programs",
        "background_options",
        "context_management",
        "image",
        "max_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }
)
