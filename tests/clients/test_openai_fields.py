"""Every field that the official SDK can send counts, is refused, or is said to have no effect."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from http_harness import THINKS, open_door
from openai.types import EmbeddingCreateParams
from openai.types import completion_create_params as completion
from openai.types import responses as sdk_responses
from openai.types.chat import (
    ChatCompletionAllowedToolChoiceParam,
    ChatCompletionAllowedToolsParam,
    ChatCompletionAssistantMessageParam,
    ChatCompletionContentPartImageParam,
    ChatCompletionContentPartParam,
    ChatCompletionContentPartRefusalParam,
    ChatCompletionContentPartTextParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageFunctionToolCallParam,
    ChatCompletionMessageParam,
    ChatCompletionNamedToolChoiceParam,
    ChatCompletionStreamOptionsParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolChoiceOptionParam,
    ChatCompletionToolMessageParam,
    ChatCompletionToolUnionParam,
    ChatCompletionUserMessageParam,
)
from openai.types.chat import chat_completion_content_part_image_param as image
from openai.types.chat import chat_completion_content_part_param as parts
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as response
from openai.types.responses import response_input_item_param as input_item
from openai.types.shared_params import (
    FunctionDefinition,
    Reasoning,
    ResponseFormatJSONObject,
    ResponseFormatJSONSchema,
    ResponseFormatText,
)

from plugins.openai.requests import (
    WITHOUT_EFFECT,
    ChatBody,
    CompletionBody,
    ContentPart,
    ImageUrl,
    InputFile,
    InputMessage,
    JsonSchema,
    ResponseFormat,
    StreamOptions,
)
from plugins.openai.tools import AllowedTools, InputFunction, InputTool, InputToolCall, InputToolChoice
from plugins.openai.vector_requests import EmbeddingsBody
from plugins.responses import requests as responses

DOCS = Path(__file__).parents[2] / "docs"
API = (DOCS / "api.md").read_text()
# What is refused whatever it says, and what only where it asks for something that is not done.
REFUSED = {
    "functions": [{"name": "f"}],
    "function_call": "auto",
    "audio": {"voice": "x"},
    "moderation": {"model": "x"},
    "web_search_options": {},
    "modalities": ["text", "audio"],
    "store": True,
    "verbosity": "low",
}

CHAT = ("CompletionCreateParamsNonStreaming", "CompletionCreateParamsStreaming")
RESPONSE = ("ResponseCreateParamsNonStreaming", "ResponseCreateParamsStreaming")


def fields(module: ModuleType, kinds: tuple[str, ...] = CHAT) -> set[str]:
    return {name for kind in kinds for name in get_type_hints(getattr(module, kind))}


def unknown_within(known: dict[type, tuple[object, ...]]) -> set[str]:
    """Fields of the SDK's kinds that the struct which reads them does not have."""
    return {
        name
        for struct, kinds in known.items()
        for kind in kinds
        for name in set(get_type_hints(kind)) - {*struct.__struct_fields__}  # type: ignore[attr-defined]
    }


def section(title: str) -> str:
    return API.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("module", "body"), [(chat, ChatBody), (completion, CompletionBody)])
def test_no_field_of_the_sdk_is_unknown(module: ModuleType, body: type) -> None:
    known = set(body.__struct_fields__)  # type: ignore[attr-defined]

    assert fields(module) - known - WITHOUT_EFFECT == set()


def test_no_field_for_embeddings_is_unknown() -> None:
    assert set(get_type_hints(EmbeddingCreateParams)) <= {*EmbeddingsBody.__struct_fields__}


def test_no_field_of_a_turn_or_of_a_stream_is_unknown() -> None:
    turns = (
        ChatCompletionAssistantMessageParam,
        ChatCompletionDeveloperMessageParam,
        ChatCompletionSystemMessageParam,
        ChatCompletionToolMessageParam,
        ChatCompletionUserMessageParam,
    )

    assert {name for turn in turns for name in get_type_hints(turn)} <= {*InputMessage.__struct_fields__}
    assert set(get_type_hints(ChatCompletionStreamOptionsParam)) <= {*StreamOptions.__struct_fields__}


def test_the_kinds_that_are_not_taken_are_all_known() -> None:
    """What each of them is refused with is in `test_http_bad_input.py`."""
    unions = (
        ChatCompletionContentPartParam,
        ChatCompletionMessageParam,
        ChatCompletionToolUnionParam,
        ChatCompletionToolChoiceOptionParam,
    )
    taken = {
        ChatCompletionAllowedToolChoiceParam,
        ChatCompletionAssistantMessageParam,
        ChatCompletionContentPartImageParam,
        ChatCompletionContentPartTextParam,
        ChatCompletionDeveloperMessageParam,
        ChatCompletionFunctionToolParam,
        ChatCompletionNamedToolChoiceParam,
        ChatCompletionSystemMessageParam,
        ChatCompletionToolMessageParam,
        ChatCompletionUserMessageParam,
        parts.File,
    }
    kinds = {kind for union in unions for kind in get_args(union) if get_origin(kind) is not Literal}

    assert {kind.__name__ for kind in kinds - taken} == {
        "ChatCompletionContentPartInputAudioParam",
        "ChatCompletionCustomToolParam",
        "ChatCompletionFunctionMessageParam",
        "ChatCompletionNamedToolChoiceCustomParam",
    }


def test_of_the_fields_within_it_the_documentation_tells_which_have_no_effect() -> None:
    known: dict[type, tuple[object, ...]] = {
        ContentPart: (
            parts.File,
            ChatCompletionContentPartTextParam,
            ChatCompletionContentPartImageParam,
            ChatCompletionContentPartRefusalParam,
        ),
        InputFile: (parts.FileFile,),
        ImageUrl: (image.ImageURL,),
        InputTool: (ChatCompletionFunctionToolParam,),
        InputFunction: (FunctionDefinition,),
        InputToolCall: (ChatCompletionMessageFunctionToolCallParam,),
        InputToolChoice: (ChatCompletionNamedToolChoiceParam, ChatCompletionAllowedToolChoiceParam),
        AllowedTools: (ChatCompletionAllowedToolsParam,),
        ResponseFormat: (ResponseFormatText, ResponseFormatJSONObject, ResponseFormatJSONSchema),
        JsonSchema: (get_type_hints(ResponseFormatJSONSchema)["json_schema"],),
    }
    without = unknown_within(known)

    assert without == {"filename", "prompt_cache_breakpoint"}
    assert without <= set(re.findall(r"`(\w+)`", section("Fields without effect")))


def test_what_is_without_effect_is_a_field_of_the_sdk_and_none_that_counts() -> None:
    counting = {*ChatBody.__struct_fields__, *CompletionBody.__struct_fields__}

    assert WITHOUT_EFFECT <= fields(chat) | fields(completion)
    assert WITHOUT_EFFECT & counting == set()


def test_the_documentation_says_why_fields_have_no_effect_or_are_refused() -> None:
    without_effect = re.findall(r"^\| `(\w+)` \| \S", section("Fields without effect"), re.MULTILINE)
    refused = re.findall(r"`(\w+)`", section("Fields that are refused"))

    assert set(without_effect) == WITHOUT_EFFECT
    assert set(REFUSED) <= set(refused)


def worded(type_: object) -> set[str]:
    """The words that a field of the SDK may be, of those that are only words."""
    kinds = [kind for kind in get_args(type_) if get_origin(kind) is Literal] or [type_]
    return {word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)}


async def test_every_word_of_the_sdk_is_taken_or_refused_with_a_reason() -> None:
    hints = get_type_hints(chat.CompletionCreateParamsNonStreaming)
    words = [(name, word) for name, type_ in hints.items() for word in worded(type_)]
    async with open_door() as door:
        # Without thoughts most efforts are refused.
        door.client.more_models = (THINKS,)
        thinking = {"model": THINKS.name}
        replies = [(name, word, await door.chat(**thinking | {name: word})) for name, word in words]
    refused = {(name, word): reply.error["message"] for name, word, reply in replies if reply.status != 200}

    assert {name for name, _ in words} >= {"reasoning_effort", "service_tier", "tool_choice", "verbosity"}
    assert set(refused) == {
        ("function_call", "auto"),
        ("function_call", "none"),
        # Without tools.
        ("tool_choice", "required"),
        ("verbosity", "high"),
        ("verbosity", "low"),
    }


async def test_what_is_refused_is_named_with_a_reason() -> None:
    async with open_door() as door:
        replies = {name: await door.chat(**{name: value}) for name, value in REFUSED.items()}

    assert {name: (reply.status, reply.error["param"]) for name, reply in replies.items()} == {
        name: (400, name) for name in REFUSED
    }
    assert all(len(reply.error["message"]) > 30 for reply in replies.values())
    assert door.client.submitted == []


def test_the_same_of_responses() -> None:
    counting, without_effect = set(responses.ResponseBody.__struct_fields__), responses.WITHOUT_EFFECT

    assert fields(response, RESPONSE) - counting == without_effect


def test_the_same_of_what_is_within_responses() -> None:
    known: dict[type, tuple[object, ...]] = {
        responses.Item: (
            sdk_responses.EasyInputMessageParam,
            sdk_responses.ResponseOutputMessageParam,
            sdk_responses.ResponseFunctionToolCallParam,
            sdk_responses.ResponseReasoningItemParam,
            input_item.Message,
            input_item.FunctionCallOutput,
            input_item.ItemReference,
        ),
        responses.ItemPart: (
            sdk_responses.ResponseInputTextParam,
            sdk_responses.ResponseInputImageParam,
            sdk_responses.ResponseInputFileParam,
            sdk_responses.ResponseOutputTextParam,
            sdk_responses.ResponseOutputRefusalParam,
        ),
        responses.ResponseTool: (sdk_responses.FunctionToolParam, sdk_responses.NamespaceToolParam),
        responses.ToolChoiceObject: (
            sdk_responses.ToolChoiceFunctionParam,
            sdk_responses.ToolChoiceAllowedParam,
        ),
        responses.TextConfig: (sdk_responses.ResponseTextConfigParam,),
        responses.TextFormat: (sdk_responses.ResponseFormatTextJSONSchemaConfigParam,),
        responses.ReasoningConfig: (Reasoning,),
    }
    (told,) = re.findall(r"\| within items, parts and tools (.*?) \|", (DOCS / "responses.md").read_text())

    assert unknown_within(known) == set(re.findall(r"`(\w+)`", told))
