"""What /v1/responses answers, field by field; events are in `events.py`."""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

from msgspec import UNSET, Struct, UnsetType

from plugins.openai.logprobs import ChatToken
from plugins.raw_fields import RawObject, RawString
from plugins.responses.requests import Role, Status

OutcomeStatus: TypeAlias = Literal["in_progress", "completed", "incomplete", "failed"]


class TextPart(Struct, frozen=True, kw_only=True, tag_field="type", tag="input_text"):
    """Words of a client."""

    text: str


class ImagePart(Struct, frozen=True, kw_only=True, tag_field="type", tag="input_image"):
    """A picture of a client."""

    detail: str
    image_url: RawString


class FilePart(Struct, frozen=True, kw_only=True, tag_field="type", tag="input_file"):
    """A document of a client."""

    filename: str | UnsetType = UNSET
    file_data: str | UnsetType = UNSET
    file_url: str | UnsetType = UNSET


class OutputText(Struct, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """Words of the model."""

    text: str
    # None are made here.
    annotations: list[str] = []
    logprobs: list[ChatToken] = []


class ReasoningText(Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning_text"):
    """A thought as it was."""

    text: str


class SummaryText(Struct, frozen=True, kw_only=True, tag_field="type", tag="summary_text"):
    """A thought where a summary was asked for."""

    text: str


InputPart: TypeAlias = TextPart | ImagePart | FilePart
OutputPart: TypeAlias = OutputText | ReasoningText | SummaryText


class MessageItem(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message; the assistant's is of `OutputText`."""

    id: str
    status: Status
    role: Role
    content: list[TextPart | ImagePart | FilePart | OutputText]


class CallItem(Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A call that the model wants made."""

    id: str
    status: Status
    call_id: str
    name: str
    # A JSON object.
    arguments: str
    namespace: str | UnsetType = UNSET


class ResultItem(Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"):
    """What came of a call."""

    id: str
    status: Status
    call_id: str
    output: str | list[InputPart]


class ReasoningItem(Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """A thought."""

    id: str
    status: Status
    summary: list[SummaryText]
    content: list[ReasoningText]
    encrypted_content: str | UnsetType = UNSET


OutputItem: TypeAlias = MessageItem | CallItem | ReasoningItem
ListedItem: TypeAlias = MessageItem | CallItem | ReasoningItem | ResultItem


class InputTokens(TypedDict):
    """Of the prompt's tokens."""

    cached_tokens: int
    # None are paid for here.
    cache_write_tokens: int


class OutputTokens(TypedDict):
    """Of the answer's tokens."""

    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """The tokens that a response took."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: OutputTokens
    total_tokens: int


class ResponseError(TypedDict):
    """Why a response failed, in one of OpenAI's codes for it."""

    code: str
    message: str


class IncompleteDetails(TypedDict):
    """Why a response is not whole."""

    reason: Literal["max_output_tokens"]


class Outcome(TypedDict):
    """What changes of a response while it comes about."""

    status: OutcomeStatus
    completed_at: int | None
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    output: list[OutputItem]
    usage: ResponseUsage | None


class FormatObject(TypedDict):
    """The format of the answer."""

    type: str
    name: NotRequired[str]
    description: NotRequired[str]
    schema: NotRequired[RawObject]
    strict: NotRequired[bool]


class TextObject(TypedDict):
    """How the answer was to be written."""

    format: FormatObject


class ReasoningObject(TypedDict):
    """How the model was to think."""

    effort: str | None
    summary: str | None


class FunctionObject(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A function that could be called."""

    name: str
    description: str | None
    parameters: RawObject
    strict: bool | None


class NamespaceObject(Struct, frozen=True, kw_only=True, tag_field="type", tag="namespace"):
    """Functions that could be called, in a namespace."""

    name: str
    description: str
    tools: list[FunctionObject]


class ChosenTool(TypedDict):
    """Which tool."""

    type: str
    name: NotRequired[str]


class ChosenTools(ChosenTool):
    """Which tool, or which ones."""

    mode: NotRequired[str]
    tools: NotRequired[list[ChosenTool]]


class EchoedFields(TypedDict):
    """What stays the same of a response: what was asked for."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    background: bool
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: ReasoningObject
    service_tier: Literal["default"]
    store: bool
    temperature: float | None
    text: TextObject
    tool_choice: str | ChosenTools
    tools: list[FunctionObject | NamespaceObject]
    top_logprobs: int
    top_p: float | None
    truncation: Literal["disabled"]


class ResponseObject(EchoedFields, Outcome):
    """A response."""


class ItemList(TypedDict):
    """What a response was asked with."""

    object: Literal["list"]
    data: list[ListedItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputCount(TypedDict):
    """How long a prompt would be."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class Deleted(TypedDict):
    """A response that is no longer kept."""

    id: str
    object: Literal["response"]
    deleted: bool
