"""The grammar of calls that are forced; that they are kept to, tests/models/test_text_tools.py shows."""

from __future__ import annotations

import json

import pytest

from transports.errors import RequestError, TaskNotSupported
from transports.messages import MAX_GRAMMAR_CHARS, ChatMessage, ChatRequest, Grammar
from transports.tools import Tool, ToolChoice
from workers.generation.call_grammars import calls_or_answer, forced_calls
from workers.generation.call_layouts import LAYOUTS
from workers.generation.tool_calls import Tools, tools_of
from workers.generation.tool_formats import HERMES, call_format

SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
REQUIRED = ToolChoice(mode="required")


def tools(*schemas: object, parallel: bool = True) -> Tools:
    """Tools called f0, f1 and so on."""
    found = tools_of(
        ChatRequest(
            messages=(ChatMessage(role="user", content="x"),),
            tools=tuple(
                Tool(name=f"f{at}", parameters=json.dumps(schema)) for at, schema in enumerate(schemas)
            ),
            parallel_tool_calls=parallel,
        )
    )
    assert found is not None
    return found


def no_token(_name: str) -> int | None:
    return None


def test_each_tool_is_an_alternative_with_its_schema() -> None:
    text = forced_calls(HERMES, tools(SCHEMA, SCHEMA), REQUIRED, no_token).text

    assert "call: call0 | call1" in text
    assert '"\\n{\\"name\\": \\"f1\\", \\"arguments\\": "' in text
    assert 'args0: %json {"type": "object", "properties": {"at"' in text


def test_a_named_tool_is_the_only_one() -> None:
    text = forced_calls(HERMES, tools(SCHEMA, SCHEMA), ToolChoice(mode="required", name="f1"), no_token).text

    assert "call: call1\n" in text
    assert "call0" not in text


def test_more_than_one_call_only_where_that_may_be() -> None:
    many, one = (
        forced_calls(HERMES, tools(SCHEMA, parallel=parallel), REQUIRED, no_token).text.splitlines()[0]
        for parallel in (True, False)
    )

    assert ("call)*" in many, "call)*" in one) == (True, False)


def test_tags_are_tokens_where_they_are_one() -> None:
    ids = {"[TOOL_CALLS]": 7, "[ARGS]": 8}
    form = call_format("mistral", "[TOOL_CALLS]", "", lambda _text, _tools: None)

    text = forced_calls(form, tools(SCHEMA), REQUIRED, ids.get).text

    assert 'call0: <[7]> "f0" <[8]> args0' in text


def test_tags_among_words_are_tokens_too() -> None:
    """llguidance takes forced text for the token of that name, and then refuses it."""
    form = call_format("minimax_m2", "<minimax:tool_call>", "", lambda _text, _tools: None)

    text = forced_calls(form, tools(SCHEMA), REQUIRED, {"</invoke>": 9}.get).text

    assert '"<invoke name=\\"f0\\">\\n" args0 <[9]> "\\n"' in text


@pytest.mark.parametrize(
    ("family", "name"),
    [("json_tools", 'a"b'), ("gemma4", "a.b"), ("function_gemma", "a-b"), ("pythonic", "if")],
)
def test_a_name_that_the_family_cannot_write_is_refused(family: str, name: str) -> None:
    form = call_format(family, "<", ">", lambda _text, _tools: None)
    found = tools(SCHEMA, SCHEMA)
    found.definitions[1]["function"]["name"] = name  # type: ignore[index]

    with pytest.raises(TaskNotSupported) as caught:
        forced_calls(form, found, REQUIRED, no_token)

    assert "tools[1].function.name" == caught.value.param
    forced_calls(form, found, ToolChoice(mode="required", name="f0"), no_token)


def test_references_without_an_end_are_refused() -> None:
    form = call_format("gemma4", "<|tool_call>", "<tool_call|>", lambda _text, _tools: None)
    chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(2000)}
    schema = {"properties": {"at": {"$ref": "#/$defs/d0"}}, "$defs": {**chain, "d2000": {"type": "string"}}}

    with pytest.raises(TaskNotSupported, match="too deep"):
        forced_calls(form, tools(schema), REQUIRED, no_token)


def test_every_family_of_mlx_lm_has_a_layout() -> None:
    families = {
        *("function_gemma", "gemma4", "glm47", "json_tools", "kimi_k2", "kimi_k3", "laguna", "longcat"),
        *("minicpm5", "minimax_m2", "mistral", "muse_spark", "pythonic", "qwen3_coder"),
    }

    assert families == LAYOUTS.keys()


def test_a_tool_without_arguments_gets_none() -> None:
    text = forced_calls(HERMES, tools({"type": "object"}), REQUIRED, no_token).text

    assert 'args0: "{}"' in text


def test_a_family_whose_calls_cannot_be_forced_is_refused() -> None:
    form = call_format("of_tomorrow", "<call>", "</call>", lambda _text, _tools: None)

    with pytest.raises(TaskNotSupported) as caught:
        forced_calls(form, tools(SCHEMA), REQUIRED, no_token)

    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({**SCHEMA, "x-guidance": {}}, "tools[0].function.parameters"),
        ({**SCHEMA, "description": "x" * MAX_GRAMMAR_CHARS}, "tool_choice"),
    ],
)
def test_a_schema_that_cannot_be_kept_to_is_refused(schema: object, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        forced_calls(HERMES, tools(schema), REQUIRED, no_token)

    assert caught.value.param == param


ANSWER = Grammar(kind="json_schema", text=json.dumps(SCHEMA), param="response_format")


def test_an_answer_may_be_calls_or_what_the_other_grammar_says() -> None:
    either = calls_or_answer(HERMES, tools(SCHEMA), ANSWER, no_token)

    assert either.calls.text.splitlines()[0].endswith(" | @answer")
    assert either.answer == ANSWER
    assert either.param == "response_format"


def test_a_family_whose_calls_are_no_grammar_takes_no_other_beside_them() -> None:
    form = call_format("of_tomorrow", "<call>", "</call>", lambda _text, _tools: None)

    with pytest.raises(TaskNotSupported, match="response_format: not together with tools") as caught:
        calls_or_answer(form, tools(SCHEMA), ANSWER, no_token)

    assert caught.value.param == "response_format"
