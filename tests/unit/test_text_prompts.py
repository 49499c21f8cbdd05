"""What is passed to a chat template, and whether it shows tools. The tokenizer is a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from transports.errors import ContextLengthExceeded, RequestError
from transports.messages import ChatMessage, Reasoning, TextPart
from transports.tools import ToolCall
from workers.generation.prompts import Prompts
from workers.generation.template_turns import Beginning, with_calls_as_words

CALLS = (ToolCall(id="1", name="look", arguments='{"at": 1}'), ToolCall(id="2", name="look", arguments="{}"))
CONVERSATION = [
    ChatMessage(role="user", content="hi"),
    ChatMessage(role="assistant", content="I look.", tool_calls=CALLS),
    ChatMessage(role="tool", content="a cat", tool_call_id="1"),
]


class PanicException(BaseException):
    """What a library in Rust raises when it panics, as pyo3 calls it."""


class Tokenizer:
    """Renders with a function of Python; no token has a name."""

    has_chat_template = True
    added_tokens_decoder: dict[int, str] = {}  # noqa: RUF012  # never written to.

    def __init__(self, chat_template: object, render: Callable[..., str]) -> None:
        self.chat_template = chat_template
        self._render = render
        self.told: dict[str, Any] = {}

    def apply_chat_template(self, turns: object, **told: Any) -> str:
        self.told = told
        return self._render(turns, **told)

    def encode(self, text: str, **_options: object) -> list[int]:
        if "panic" in text:
            raise PanicException("Regex search error in /home/ann/lib.rs")
        return list(text.encode())

    def convert_tokens_to_ids(self, _name: str) -> None:
        return None


def prompts(chat_template: object, render: Callable[..., str]) -> tuple[Prompts, Tokenizer]:
    tokenizer = Tokenizer(chat_template, render)
    return Prompts(tokenizer, 256, 1000), tokenizer


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ enable_thinking }}", {"enable_thinking"}),
        ("{{ thinking }} {{ reasoning_effort }}", {"enable_thinking", "thinking", "reasoning_effort"}),
        # A program instead of a template, which knows no other names.
        (None, {"enable_thinking"}),
    ],
)
def test_a_template_is_told_what_it_knows(template: object, expected: set[str]) -> None:
    made, tokenizer = prompts(template, lambda _turns, **_told: "x")

    made.chat(
        [ChatMessage(role="user", content="hi")], made.told(None, Reasoning(enabled=True, effort="low"))
    )

    assert expected == set(tokenizer.told) - {"add_generation_prompt", "tokenize"}


def refuses(_turns: object, tools: object = None, **_told: object) -> str:
    if tools:
        raise TypeError("what are tools?")
    return "x"


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        (lambda _turns, tools=None, **_told: f"x{tools}", True),
        (lambda _turns, **_told: "x", False),
        (refuses, False),
    ],
)
def test_whether_tools_are_shown_is_tried(render: Callable[..., str], expected: bool) -> None:
    made, _ = prompts("", render)

    assert made.shows_tools is expected


def test_an_answer_goes_on_with_its_beginning() -> None:
    made, _ = prompts("{{ x }}", lambda turns, **_told: "|".join(turn["content"] for turn in turns) + "|")

    tokens = made.chat([ChatMessage(role="user", content="hi")], beginning=Beginning("It is"))

    assert b"hi|It is" == bytes(tokens)


def test_thoughts_that_the_template_opens_are_over_before_the_beginning() -> None:
    made, _ = prompts("{{ x }}", lambda _turns, **_told: "hi<think>\n")

    tokens = made.chat(
        [ChatMessage(role="user", content="hi")], beginning=Beginning("It is", "<think>", "</think>")
    )

    assert b"hi<think>\n</think>\n\nIt is" == bytes(tokens)


def bare(turns: Any, **_told: Any) -> str:
    return "|".join(turn["content"] for turn in turns)


def with_calls(turns: Any, **told: Any) -> str:
    return bare(turns, **told) + "".join(
        call["function"]["name"] for turn in turns for call in turn.get("tool_calls", ())
    )


def refuses_calls(turns: Any, **told: Any) -> str:
    if any(turn.get("tool_calls") for turn in turns):
        raise TypeError("what are calls?")
    return bare(turns, **told)


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        (with_calls, "hi|I look.|a cat" + "looklook"),
        (
            bare,
            'hi|I look.\n{"name": "look", "arguments": {"at": 1}}\n{"name": "look", "arguments": {}}|a cat',
        ),
    ],
)
def test_no_call_of_an_earlier_turn_is_lost_on_a_template(render: Callable[..., str], expected: str) -> None:
    """A template that shows none would leave a gap before the results."""
    made, _ = prompts("", render)

    assert expected == bytes(made.chat(CONVERSATION)).decode()


def test_a_template_that_refuses_calls_says_so_itself() -> None:
    made, _ = prompts("", refuses_calls)

    with pytest.raises(RequestError, match="refused"):
        made.chat(CONVERSATION)


def test_calls_stand_behind_the_parts_of_a_turn_that_has_some() -> None:
    turn = ChatMessage(role="assistant", content=(TextPart(text="I look."),), tool_calls=CALLS[1:])

    assert (TextPart(text="I look."), TextPart(text='{"name": "look", "arguments": {}}')) == (
        with_calls_as_words(turn).content
    )


def test_a_panic_of_the_tokenizer_is_the_error_of_its_request() -> None:
    """It is no Exception, and would end the worker with everybody's requests."""
    made, _ = prompts("{{ messages }}", lambda turns, **_told: str(turns))
    said = "the model's tokenizer cannot read this text: Regex search error in lib.rs"

    with pytest.raises(RequestError, match=said):
        made.completion("don't panic")
    with pytest.raises(RequestError, match=said):
        made.chat([ChatMessage(role="user", content="don't panic")])


class SpaceBorders:
    """Knows that each space ends a token."""

    def count(self, text: str, enough: int) -> tuple[int, int]:
        del enough
        return text.count(" ") + 1, len(text)


def test_a_prompt_whose_borders_are_too_many_is_refused_unread() -> None:
    """To make tokens of it takes a hundred times as long, in which the other answers wait."""
    made = Prompts(Tokenizer("", lambda turns, **_told: turns[0]["content"]), 256, 1000, SpaceBorders())
    unreadable = "panic " * 1000

    with pytest.raises(ContextLengthExceeded, match="got 1001 or more in the first 6000 of 6000"):
        made.completion(unreadable)
    with pytest.raises(ContextLengthExceeded, match="got 1001 or more in the first 6000 of 6000"):
        made.chat([ChatMessage(role="user", content=unreadable)])


def test_of_a_prompt_with_fewer_borders_as_much_is_read_as_shows_that_it_is_too_long() -> None:
    made = Prompts(Tokenizer("", bare), 256, 10_000, SpaceBorders())

    # The stand-in makes a token of each byte, and panics over the last piece.
    with pytest.raises(ContextLengthExceeded, match=r"got 1\d{4} or more"):
        made.completion("a b " * 2000 + "a" * 9000 + "panic")


def test_too_many_ids_are_refused_for_their_number() -> None:
    """Else a million of them would be looked at."""
    made, _ = prompts("", bare)

    with pytest.raises(ContextLengthExceeded, match="got 1001"):
        made.completion([256] * 1001)
    with pytest.raises(RequestError, match="got 256"):
        made.completion([1, 256])
    with pytest.raises(RequestError, match="got -1"):
        made.completion([-1, 1])


def test_names_of_special_tokens_are_broken_also_within_each_other() -> None:
    tokenizer = Tokenizer("", bare)
    tokenizer.added_tokens_decoder = {1: Special("<|a|>"), 2: Special("|a|"), 3: Special("[x]")}  # type: ignore[dict-item]
    made = Prompts(tokenizer, 256, 1000)

    plain = made._plain("1 < 2 <|a|> [x] [y]")

    assert [] == [name for name in ("<|a|>", "|a|", "[x]") if name in plain]
    assert "1 < 2 <|a|> [x] [y]" == plain.replace("\ufdd0", "")


class Special(str):
    """A special token."""

    special = True
