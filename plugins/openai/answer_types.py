"""What the OpenAI routes answer, field by field."""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

from plugins.openai.logprobs import ChatLogprobs, CompletionLogprobs
from plugins.openai.open_webui import OpenWebUiInfo
from transports.reports import Modality, ModelState

EndReason: TypeAlias = Literal["stop", "length", "tool_calls"]


class FunctionCall(TypedDict):
    """What is called."""

    name: str
    # A JSON object.
    arguments: str


class ToolCallObject(TypedDict):
    """A call that the model wants made."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class AssistantMessage(TypedDict):
    """The model's turn."""

    role: Literal["assistant"]
    # None where calls are all there is.
    content: str | None
    refusal: None
    tool_calls: NotRequired[list[ToolCallObject]]
    # Not OpenAI's: what was thought before.
    reasoning_content: NotRequired[str]


class PromptTokens(TypedDict):
    """Of the prompt's tokens."""

    cached_tokens: int


class CompletionTokens(TypedDict):
    """Of the answer's tokens."""

    reasoning_tokens: int


class TokenUsage(TypedDict):
    """The tokens that a request took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens
    completion_tokens_details: CompletionTokens


class ChatChoice(TypedDict):
    """One answer to a conversation."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: EndReason | None


class ChatCompletion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: TokenUsage


class FunctionCallDelta(TypedDict):
    """More of a call: the name with the first piece, then arguments."""

    name: NotRequired[str]
    arguments: str


class ToolCallDeltaObject(TypedDict):
    """A piece of a call; `id` and `type` come with the first one."""

    index: int
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: FunctionCallDelta


class ChatDelta(TypedDict, total=False):
    """What is new."""

    role: Literal["assistant"]
    content: str
    refusal: None
    reasoning_content: str
    tool_calls: list[ToolCallDeltaObject]


class ChatChunkChoice(TypedDict):
    """What is new of one answer."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    # With its last chunk.
    finish_reason: EndReason | None


class ChatChunk(TypedDict):
    """An event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    # None with the usage.
    choices: list[ChatChunkChoice]
    usage: NotRequired[TokenUsage | None]


class CompletionChoice(TypedDict):
    """What follows a prompt, or a piece of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    # In a stream: with its last chunk.
    finish_reason: EndReason | None


class Completion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: TokenUsage


class CompletionChunk(TypedDict):
    """An event of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    # None with the usage.
    choices: list[CompletionChoice]
    usage: NotRequired[TokenUsage | None]


class ModelObject(TypedDict):
    """A model; what follows `owned_by` is ours."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["mlxd"]
    kind: str
    modalities: tuple[Modality, ...]
    capabilities: list[str]
    tasks: tuple[str, ...]
    state: ModelState
    size_bytes: int
    context_length: int
    alias_of: NotRequired[str]


class ListedModel(ModelObject):
    """A model over HTTP."""

    # The same in Open WebUI's words.
    info: OpenWebUiInfo


class ModelList(TypedDict):
    """The models that can be asked."""

    object: Literal["list"]
    data: list[ListedModel]
