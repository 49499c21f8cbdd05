"""The bodies that the OpenAI routes take, field by field; what is not here is unknown.

Bounds are those of `transports.messages`, so that a wrong value is refused at the door.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from plugins.media.picture import Detail
from plugins.openai.tools import (
    Effort,
    InputToolCalls,
    InputToolChoice,
    InputTools,
    TemplateFields,
)
from plugins.raw_fields import NULL, RawNull, RawObject, RawSchema, RawString
from transports.messages import MAX_GRAMMAR_CHARS
from transports.tools import CallId, Json

MAX_INT32 = 2**31 - 1
# Prompts of one completion request: lm-eval sends its batch as a list.
MAX_PROMPTS = 32
# Answers of one request, OpenAI's own limit. They wait for the model's slots as requests do.
MAX_CHOICES = 128
# The codec's limit for an array (transports.codec.MAX_ARRAY_ITEMS).
MAX_PROMPT_TOKENS = 1 << 20

TokenId: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_INT32)]
StopString: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
UserName: TypeAlias = Annotated[str, Meta(max_length=512)]
PriorityName: TypeAlias = Literal["high", "normal", "low"]
GrammarText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_GRAMMAR_CHARS)]
Choices: TypeAlias = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=1024)]


class StreamOptions(Struct, frozen=True, kw_only=True):
    """How to stream."""

    include_usage: bool | None = None
    # Random letters that hide the length of a chunk; there are none.
    include_obfuscation: bool | None = None


class ImageUrl(Struct, frozen=True, kw_only=True):
    """A picture by its URL, which may hold the picture itself."""

    # A string that stays in the body: as one of ours, a photograph's megabytes cost 5 ms.
    url: RawString
    detail: Detail | None = None


class InputFile(Struct, frozen=True, kw_only=True):
    """A document; its name does not matter."""

    # A data: URL, or its base64 alone.
    file_data: str | None = None
    # Of a file that was sent before, which we do not keep.
    file_id: str | None = None


class ContentPart(Struct, frozen=True, kw_only=True):
    """A part of a message's content; `content.py` says which fields count for which type."""

    type: str
    text: str | None = None
    # Of the assistant: what it said instead of an answer.
    refusal: str | None = None
    # OpenAI has an object with type "image_url" and a string with "input_image"; clients mix them.
    image_url: ImageUrl | str | None = None
    detail: Detail | None = None
    # With type "file"; "input_file" has its fields in the part itself.
    file: InputFile | None = None
    file_data: str | None = None
    file_id: str | None = None


class InputMessage(Struct, frozen=True, kw_only=True):
    """A turn as OpenAI's clients send it."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[ContentPart], Meta(max_length=1024)] | None = None
    name: Annotated[str, Meta(max_length=256)] | None = None
    tool_calls: InputToolCalls | None = None
    tool_call_id: CallId | None = None
    # Of the assistant: what it said instead of `content`.
    refusal: str | None = None
    # Of answers that are spoken, and of what OpenAI had before tools.
    audio: RawNull = NULL
    function_call: RawNull = NULL
    # Not OpenAI's: what a local model thought in an earlier turn.
    reasoning_content: Json | None = None


class JsonSchema(Struct, frozen=True, kw_only=True):
    """A schema and its name, which does not matter; it is always kept to, strict or not."""

    schema: RawObject = NULL
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct, frozen=True, kw_only=True):
    """What the answer keeps to; `grammars.py` says which types there are."""

    type: str
    json_schema: JsonSchema | None = None


class StructuredOutputs(Struct, frozen=True, kw_only=True):
    """vLLM's: one of these."""

    # An object, or a string that holds one.
    json: RawSchema = NULL
    json_object: bool | None = None
    regex: GrammarText | None = None
    choice: Choices | None = None
    grammar: GrammarText | None = None
    structural_tag: RawNull = NULL


class GenerateBody(Struct, frozen=True, kw_only=True):
    """What both routes share."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=MAX_INT32)] | None = None
    stop: StopString | Annotated[list[StopString], Meta(max_length=16)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logit_bias: (
        Annotated[dict[TokenId, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)] | None
    ) = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    # Not OpenAI's: the samplers of local models. -1 is "off" in other servers.
    top_k: Annotated[int, Meta(ge=-1, le=MAX_INT32)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    xtc_probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    xtc_threshold: Annotated[float, Meta(ge=0, le=0.5)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    # Ollama's and llama.cpp's name for repetition_penalty.
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    ignore_eos: bool | None = None
    # vLLM's: what the answer keeps to; `structured_outputs` since its version 0.11, the others before.
    structured_outputs: StructuredOutputs | None = None
    guided_json: RawSchema = NULL
    guided_regex: GrammarText | None = None
    guided_choice: Choices | None = None
    guided_grammar: GrammarText | None = None
    # Of several people behind one client, which; nobody else learns it.
    user: UserName | None = None
    # Not OpenAI's: what the header X-Priority says, and before it.
    priority: PriorityName | None = None
    # Ollama's: how long the model stays in memory after this.
    keep_alive: float | Annotated[str, Meta(max_length=40)] | None = None


class ConversationBody(GenerateBody, frozen=True, kw_only=True):
    """What chats and responses share."""

    parallel_tool_calls: bool | None = None
    # Not OpenAI's: tokens of thought.
    thinking_budget: Annotated[int, Meta(ge=0, le=MAX_INT32)] | None = None
    chat_template_kwargs: TemplateFields | None = None
    # OpenAI's newer name for `user`.
    safety_identifier: UserName | None = None
    # OpenAI's classes of service, which become priorities.
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None


class ChatBody(ConversationBody, frozen=True, kw_only=True):
    """POST /v1/chat/completions."""

    messages: Annotated[list[InputMessage], Meta(min_length=1, max_length=4096)]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=MAX_INT32)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: InputTools | None = None
    tool_choice: str | InputToolChoice | None = None
    # Not OpenAI's, but vLLM's: the last turn is the beginning of the answer.
    continue_final_message: bool | None = None
    # What OpenAI had before tools.
    functions: RawNull = NULL
    function_call: RawNull = NULL
    reasoning_effort: Effort | None = None
    modalities: list[str] | None = None
    # Taken where they ask for what is done anyway.
    store: bool | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    # Not taken.
    audio: RawNull = NULL
    moderation: RawNull = NULL
    web_search_options: RawNull = NULL


class CompletionBody(GenerateBody, frozen=True, kw_only=True):
    """POST /v1/completions."""

    # 0, with `echo`: only the prompt and its logprobs.
    max_tokens: Annotated[int, Meta(ge=0, le=MAX_INT32)] | None = None
    # Text, token ids, or a list of either.
    prompt: (
        str
        | Annotated[
            list[int | str | Annotated[list[TokenId], Meta(max_length=MAX_PROMPT_TOKENS)]],
            Meta(min_length=1, max_length=MAX_PROMPT_TOKENS),
        ]
    )
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None


# OpenAI's fields that are taken and have no effect here, which their meaning allows: labels of stored
# answers, and hints that can only make an answer quicker. docs/api.md says why of each.
WITHOUT_EFFECT = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }
)
