"""Every field that the official SDK can send is known: it counts, or the answer says what becomes of it."""

from __future__ import annotations

from typing import get_type_hints

import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_count_tokens_params as beta_count_tokens_params
from anthropic.types.beta import message_create_params as beta_create_params

from plugins.anthropic.requests import WITHOUT_EFFECT, CountBody, MessagesBody


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
