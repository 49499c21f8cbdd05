"""Every field that the official SDK can send is known: it counts, or the answer says that it does not."""

from __future__ import annotations

from types import ModuleType
from typing import get_type_hints

import pytest
from openai.types import completion_create_params as completion
from openai.types.chat import completion_create_params as chat

from plugins.openai.requests import WITHOUT_EFFECT, ChatBody, CompletionBody


def fields(module: ModuleType) -> set[str]:
    kinds = ("CompletionCreateParamsNonStreaming", "CompletionCreateParamsStreaming")
    return {name for kind in kinds for name in get_type_hints(getattr(module, kind))}


@pytest.mark.parametrize(("module", "body"), [(chat, ChatBody), (completion, CompletionBody)])
def test_no_field_of_the_sdk_is_unknown(module: ModuleType, body: type) -> None:
    known = set(body.__struct_fields__)  # type: ignore[attr-defined]

    assert fields(module) - known - WITHOUT_EFFECT == set()


def test_what_is_without_effect_is_a_field_of_the_sdk_and_none_that_counts() -> None:
    counting = {*ChatBody.__struct_fields__, *CompletionBody.__struct_fields__}

    assert WITHOUT_EFFECT <= fields(chat) | fields(completion)
    assert WITHOUT_EFFECT & counting == set()
