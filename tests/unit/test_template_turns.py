"""What a chat template is told: turns, calls, tools and thinking, all of it plain text."""

from __future__ import annotations

import pytest

from transports.errors import RequestError
from transports.messages import ChatMessage, ChatRequest, Reasoning
from transports.tools import Tool, ToolCall, ToolChoice
from workers.generation.template_turns import called_names, fields_of, split_last, turn_of
from workers.generation.tool_calls import tools_of

CALL = ToolCall(id="c1", name="look", arguments='{"at": ["<end>", {"<end>": 1}], "n": null}')


def plain(text: str) -> str:
    return text.replace("<end>", "<|end>")


def turn(message: ChatMessage) -> dict[str, object]:
    return turn_of(message, message.text, plain, role=message.role, name=message.name)


def test_a_plain_turn_has_nothing_more() -> None:
    assert turn(ChatMessage(role="user", content="x")) == {"role": "user", "content": "x"}


def test_arguments_are_objects_and_plain_at_any_depth() -> None:
    said = turn(ChatMessage(role="assistant", content="", tool_calls=(CALL,), reasoning="<end>"))

    assert said["reasoning_content"] == "<|end>"
    assert said["tool_calls"] == [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "look", "arguments": {"at": ["<|end>", {"<|end>": 1}], "n": None}},
        }
    ]


def test_arguments_that_are_no_object_are_shown_as_sent() -> None:
    for arguments in ("{<end>", "[1]", "[" * 100_000):
        call = ToolCall(id="c", name="f", arguments=arguments)
        said = turn(ChatMessage(role="assistant", content="", tool_calls=(call,)))

        assert said["tool_calls"][0]["function"]["arguments"] == plain(arguments)  # type: ignore[index]


def test_a_result_has_the_id_and_its_tools_name_is_known() -> None:
    call = ChatMessage(role="assistant", content="", tool_calls=(CALL,))
    result = ChatMessage(role="tool", content="4", tool_call_id="c1")

    assert called_names([call, result]) == {"c1": "look"}
    assert turn(result) == {"role": "tool", "content": "4", "tool_call_id": "c1"}


def test_tools_are_told_as_models_were_taught_them() -> None:
    tool = Tool(name="look", description="Ends <end>.", parameters='{"type": "object", "x": "<end>"}')
    body = ChatRequest(messages=(ChatMessage(role="user", content="x"),), tools=(tool, Tool(name="add")))

    fields = fields_of(tools_of(body), Reasoning(), plain)

    look, add = fields["tools"]  # type: ignore[misc]
    assert list(look["function"]) == ["name", "description", "parameters"]  # type: ignore[index]
    assert look["function"]["description"] == "Ends <|end>."  # type: ignore[index]
    assert look["function"]["parameters"]["x"] == "<|end>"  # type: ignore[index]
    assert add["function"]["parameters"] == {"type": "object", "properties": {}}  # type: ignore[index]
    assert set(fields) == {"tools"}


def test_tools_that_may_not_be_called_are_not_told() -> None:
    body = ChatRequest(
        messages=(ChatMessage(role="user", content="x"),),
        tools=(Tool(name="f"),),
        tool_choice=ToolChoice(mode="none"),
    )

    assert tools_of(body) is None


def test_thinking_is_told_under_both_names() -> None:
    assert fields_of(None, Reasoning(enabled=False, effort="none"), plain) == {
        "enable_thinking": False,
        "thinking": False,
        "reasoning_effort": "none",
    }


def test_what_an_answer_goes_on_with_is_no_turn() -> None:
    user, begun = ChatMessage(role="user", content="hi"), ChatMessage(role="assistant", content="It is")

    assert ([user], "It is") == split_last(ChatRequest(messages=(user, begun), continues_last=True))
    assert ((user, begun), "") == split_last(ChatRequest(messages=(user, begun)))


@pytest.mark.parametrize(
    "messages",
    [
        [ChatMessage(role="assistant", content="It is")],
        [ChatMessage(role="user", content="a"), ChatMessage(role="user", content="b")],
        [
            ChatMessage(role="user", content="a"),
            ChatMessage(
                role="assistant", content="", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),)
            ),
        ],
        [
            ChatMessage(role="user", content="a"),
            ChatMessage(role="assistant", content="b", reasoning="Hm."),
        ],
    ],
    ids=["alone", "user", "call", "thought"],
)
def test_an_answer_goes_on_with_words_of_the_assistant_only(messages: list[ChatMessage]) -> None:
    with pytest.raises(RequestError, match="messages: expected words of the assistant"):
        split_last(ChatRequest(messages=tuple(messages), continues_last=True))
