"""Every field that the official SDK can send is known: it counts, or the answer says what becomes of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import anthropic.types as sdk
import pytest
from anthropic.types import beta, message_count_tokens_params, message_create_params
from anthropic.types.beta import message_count_tokens_params as beta_count_tokens_params
from anthropic.types.beta import message_create_params as beta_create_params

from plugins.anthropic.requests import (
    WITHOUT_EFFECT,
    Block,
    BlockSource,
    Citations,
    CountBody,
    MessagesBody,
    MessageTool,
    MessageToolChoice,
    MessageTurn,
    OutputConfig,
    OutputFormat,
    Thinking,
)

API = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
# What a body of ours holds -> the SDK's types for what is taken of it.
WITHIN: dict[type, tuple[object, ...]] = {
    MessageTurn: (sdk.UserMessageParam, sdk.AssistantMessageParam, sdk.SystemMessageParam),
    Block: (
        sdk.TextBlockParam,
        sdk.ImageBlockParam,
        sdk.DocumentBlockParam,
        sdk.SearchResultBlockParam,
        sdk.ThinkingBlockParam,
        sdk.RedactedThinkingBlockParam,
        sdk.ToolUseBlockParam,
        sdk.ToolResultBlockParam,
        sdk.ToolReferenceBlockParam,
        beta.BetaTextBlockParam,
        beta.BetaImageBlockParam,
        beta.BetaRequestDocumentBlockParam,
        beta.BetaToolUseBlockParam,
        beta.BetaToolResultBlockParam,
    ),
    BlockSource: (
        sdk.Base64ImageSourceParam,
        sdk.URLImageSourceParam,
        sdk.Base64PDFSourceParam,
        sdk.URLPDFSourceParam,
        sdk.PlainTextSourceParam,
        sdk.ContentBlockSourceParam,
        beta.BetaFileImageSourceParam,
    ),
    Citations: (sdk.CitationsConfigParam,),
    MessageTool: (
        sdk.ToolParam,
        sdk.ToolBash20250124Param,
        sdk.ToolTextEditor20250728Param,
        beta.BetaToolParam,
        beta.BetaMemoryTool20250818Param,
    ),
    MessageToolChoice: (
        sdk.ToolChoiceAutoParam,
        sdk.ToolChoiceAnyParam,
        sdk.ToolChoiceToolParam,
        sdk.ToolChoiceNoneParam,
    ),
    Thinking: (
        sdk.ThinkingConfigEnabledParam,
        sdk.ThinkingConfigDisabledParam,
        sdk.ThinkingConfigAdaptiveParam,
        sdk.ThinkingConfigBetweenToolsParam,
    ),
    OutputConfig: (sdk.OutputConfigParam, beta.BetaOutputConfigParam),
    OutputFormat: (sdk.JSONOutputFormatParam,),
}


def fields(*types: type) -> set[str]:
    return {name for type_ in types for name in get_type_hints(type_)}


CREATE = fields(
    message_create_params.MessageCreateParamsNonStreaming,
    message_create_params.MessageCreateParamsStreaming,
    beta_create_params.MessageCreateParamsNonStreaming,
    beta_create_params.MessageCreateParamsStreaming,
)
COUNT = fields(
    message_count_tokens_params.MessageCountTokensParams, beta_count_tokens_params.MessageCountTokensParams
)


@pytest.mark.parametrize(("sent", "body"), [(CREATE, MessagesBody), (COUNT, CountBody)])
def test_no_field_of_the_sdk_is_unknown(sent: set[str], body: type) -> None:
    known = set(body.__struct_fields__)  # type: ignore[attr-defined]

    assert sent - known - WITHOUT_EFFECT == set()


def test_what_is_without_effect_is_a_field_of_the_sdk_and_none_that_counts() -> None:
    assert WITHOUT_EFFECT <= CREATE | COUNT
    assert WITHOUT_EFFECT & set(MessagesBody.__struct_fields__) == set()


def test_of_the_fields_within_it_the_documentation_tells_which_have_no_effect() -> None:
    without = {
        name
        for struct, kinds in WITHIN.items()
        for kind in kinds
        for name in set(get_type_hints(kind)) - {*struct.__struct_fields__}  # type: ignore[attr-defined]
    }
    (told,) = re.findall(r"Within blocks, tools and others, (.*?):", API)

    assert without == set(re.findall(r"`(\w+)`", told))
