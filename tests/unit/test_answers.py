"""Thoughts, calls and answers are told apart, however the text is cut."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from random import Random

import pytest

from transports.messages import Delta, Item, ReasoningDelta
from transports.tools import MAX_TOOL_CALLS, ToolCallBegin, ToolCallDelta, ToolCallEnd
from workers.generation.answers import AnswerFormat, AnswerReader
from workers.generation.tool_calls import Tools
from workers.generation.tool_formats import HERMES, MAX_PARSE_S, MAX_PARSED_CHARS, call_format

FORM = AnswerFormat("<think>", "</think>", HERMES)
TOOLS = Tools(definitions=(), names=frozenset({"look", "add"}))
ID = "request-1"
LOOK = '<tool_call>\n{"name": "look", "arguments": {"at": "a {b} </x>"}}\n</tool_call>'
ADD = '<tool_call>{"name": "add", "arguments": {"n": [1, 2.5]}}</tool_call>'


def read(
    text: str,
    *,
    form: AnswerFormat = FORM,
    tools: Tools | None = TOOLS,
    is_thinking: bool = False,
    is_whole: bool = True,
    calls_first: bool = False,
    seed: int | None = None,
) -> list[Item]:
    """The items of *text*, fed whole, or in pieces with a seed."""
    random = Random(seed)
    reader = AnswerReader(ID, form, tools, is_thinking=is_thinking, calls_first=calls_first)
    items: list[Item] = []
    while text:
        size = len(text) if seed is None else random.choice([1, 1, 2, 3, 7, 20])
        items += reader.feed(text[:size])
        text = text[size:]
    return items + reader.finish(is_whole=is_whole)


def told(items: Sequence[Item]) -> list[tuple[str, str]]:
    """What the items say, joined: kind and text, of a call its name and arguments."""
    said: list[tuple[str, str]] = []
    for item in items:
        match item:
            case Delta():
                said.append(("text", item.text))
            case ReasoningDelta():
                said.append(("thought", item.text))
            case ToolCallBegin():
                said.append((item.name, ""))
            case ToolCallDelta():
                name, arguments = said.pop()
                said.append((name, arguments + item.arguments))
            case ToolCallEnd(is_broken=True):
                said.pop()
        if len(said) > 1 and said[-1][0] == said[-2][0] and said[-1][0] in ("text", "thought"):
            said[-2:] = [(said[-1][0], said[-2][1] + said[-1][1])]
    return said


CASES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "plain": ("Hi <b>there</b> ", [("text", "Hi <b>there</b> ")]),
    "a thought": ("<think>\nwell\n</think>\n\nYes.", [("thought", "well"), ("text", "Yes.")]),
    "an empty thought": ("<think>\n\n</think>\n\nYes.", [("text", "Yes.")]),
    "a thought with two ends": (
        "<think>so</think>\n</think>Yes </think>",
        [("thought", "so"), ("text", "Yes </think>")],
    ),
    "a thought without end": ("<think>on and on", [("thought", "on and on")]),
    "a tag of thoughts in an answer": ("Say <think>.", [("text", "Say <think>.")]),
    "a call": (LOOK, [("look", '{"at": "a {b} </x>"}')]),
    "words, then calls": (
        f"Let me see.\n{LOOK}\n{ADD}",
        [("text", "Let me see."), ("look", '{"at": "a {b} </x>"}'), ("add", '{"n": [1, 2.5]}')],
    ),
    "a thought, then a call": (
        f"<think>hm</think>\n{ADD}",
        [("thought", "hm"), ("add", '{"n": [1, 2.5]}')],
    ),
    "words after a call": (f"{ADD}\nDone.", [("add", '{"n": [1, 2.5]}'), ("text", "Done.")]),
    "no end tag": ('<tool_call>{"name": "add", "arguments": {}}', [("add", "{}")]),
    "an end tag in an argument": (
        '<tool_call>{"name": "look", "arguments": {"at": "</tool_call>"}}</tool_call>',
        [("look", '{"at": "</tool_call>"}')],
    ),
    "arguments first": (
        '<tool_call>{"arguments": {"n": 1}, "name": "add"}</tool_call>',
        [("add", '{"n": 1}')],
    ),
    "arguments as a text": (
        '<tool_call>{"name": "add", "arguments": "{\\"n\\": 1}"}</tool_call>',
        [("add", '{"n": 1}')],
    ),
    "several in one": (
        '<tool_call>[{"name": "add", "arguments": {}}, {"name": "look", "arguments": {}}]</tool_call>',
        [("add", "{}"), ("look", "{}")],
    ),
    "an unknown tool": (
        '<tool_call>{"name": "rm", "arguments": {}}</tool_call>!',
        [("text", '<tool_call>{"name": "rm", "arguments": {}}</tool_call>!')],
    ),
    "no JSON": ("<tool_call>look!</tool_call> ok", [("text", "<tool_call>look!</tool_call> ok")]),
    "broken arguments": (
        '<tool_call>{"name": "add", "arguments": {"n": nothing}}</tool_call>' + ADD,
        [
            ("text", '<tool_call>{"name": "add", "arguments": {"n": nothing}}</tool_call>'),
            ("add", '{"n": [1, 2.5]}'),
        ],
    ),
    "half a tag": ("a <tool_cal", [("text", "a <tool_cal")]),
}


@pytest.mark.parametrize("case", CASES)
def test_text_becomes_items(case: str) -> None:
    text, expected = CASES[case]

    assert told(read(text)) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_items_do_not_depend_on_how_the_text_is_cut(case: str) -> None:
    text, expected = CASES[case]

    assert [told(read(text, seed=seed)) for seed in range(20)] == [expected] * 20


def test_a_prompt_that_opens_the_thought_is_gone_on_from() -> None:
    items = read("\nwell</think>Yes.", is_thinking=True)

    assert told(items) == [("thought", "well"), ("text", "Yes.")]


def test_without_tools_a_call_is_text() -> None:
    assert told(read(LOOK, tools=None)) == [("text", LOOK)]


def test_a_call_that_was_cut_short_is_text_and_taken_back() -> None:
    items = read(LOOK[:-25], is_whole=False)

    assert told(items) == [("text", LOOK[:-25])]
    assert [item.is_broken for item in items if isinstance(item, ToolCallEnd)] == [True]


def test_a_call_whose_end_a_parser_never_saw_is_text() -> None:
    form = AnswerFormat(calls=call_format("own", "<c>", "</c>", lambda _text, _tools: {"name": "add"}))

    assert told(read("<c>add(1", form=form, is_whole=False)) == [("text", "<c>add(1")]


def test_arguments_leave_as_they_come() -> None:
    reader = AnswerReader(ID, FORM, TOOLS)

    reader.feed('<tool_call>{"name": "look", "arguments": ')
    items = [*reader.feed('{"at": "he'), *reader.feed('re"')]

    assert ["look", '{"at": "he', 're"'] == [
        getattr(item, "name", None) or getattr(item, "arguments", None) for item in items
    ]


def test_no_more_is_held_back_than_may_become_a_tag() -> None:
    reader = AnswerReader(ID, FORM, TOOLS)

    said = [told(reader.feed(text)) for text in ("a <", "b", " <tool", "s> ", "c")]

    assert said == [
        [("text", "a")],
        [("text", " <b")],
        [],
        [("text", " <tools>")],
        [("text", " c")],
    ]


def test_one_call_ends_the_answer_where_there_may_be_only_one() -> None:
    reader = AnswerReader(ID, FORM, Tools(definitions=(), names=TOOLS.names, parallel=False))

    items = [*reader.feed(ADD + LOOK), *reader.finish(is_whole=False)]

    assert told(items) == [("add", '{"n": [1, 2.5]}')]
    assert reader.is_complete


def test_calls_are_counted_and_have_ids_of_their_own() -> None:
    begun = [item for item in read(ADD + LOOK + ADD) if isinstance(item, ToolCallBegin)]

    assert [0, 1, 2] == [item.index for item in begun]
    assert 3 == len({item.call_id for item in begun})
    assert all(len(item.call_id) == 9 and item.call_id.isalnum() for item in begun)


def test_there_is_a_most_of_calls() -> None:
    items = read(ADD * (MAX_TOOL_CALLS + 1))

    assert MAX_TOOL_CALLS == sum(isinstance(item, ToolCallEnd) for item in items)
    assert ("text", ADD) == told(items)[-1]


def test_a_call_that_never_ends_becomes_text_at_a_bound() -> None:
    reader = AnswerReader(ID, FORM, TOOLS)

    items = [item for _ in range(MAX_PARSED_CHARS // 8 + 1) for item in reader.feed("<tool_call>" + "x" * 8)]

    assert sum(len(item.text) for item in items if isinstance(item, Delta)) > MAX_PARSED_CHARS


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("mistral", '[TOOL_CALLS]look[ARGS]{"at": "x"}[TOOL_CALLS]add[ARGS]{}'),
        ("mistral", '[TOOL_CALLS]look[CALL_ID]123456789[ARGS]{"at": "x"}add[ARGS]{}'),
        (
            "kimi_k2",
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>"
            '{"at": "x"}<|tool_call_end|><|tool_call_begin|>functions.add:1<|tool_call_argument_begin|>{}'
            "<|tool_call_end|><|tool_calls_section_end|>",
        ),
    ],
)
def test_families_with_json_arguments_need_no_parser(family: str, text: str) -> None:
    tags = {
        "mistral": ("[TOOL_CALLS]", ""),
        "kimi_k2": ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    }
    form = AnswerFormat(calls=call_format(family, *tags[family], lambda _text, _tools: None))

    expected = [("look", '{"at": "x"}'), ("add", "{}")]

    assert told(read(text, form=form)) == expected
    assert [told(read(text, form=form, seed=seed)) for seed in range(20)] == [expected] * 20


@pytest.mark.parametrize(
    "parsed",
    [
        None,
        [],
        "look",
        {"name": ["look"], "arguments": {}},
        {"name": "look", "arguments": [1]},
        {"name": "look", "arguments": {"a": float("nan")}},
        {"name": "look", "arguments": {"a": {1, 2}}},
        {"name": "look", "arguments": {"a": "\ud800"}},
    ],
)
def test_what_a_parser_makes_of_nonsense_is_text(parsed: object) -> None:
    form = AnswerFormat(calls=call_format("own", "<c>", "</c>", lambda _text, _tools: parsed))

    assert told(read("<c>?</c>", form=form)) == [("text", "<c>?</c>")]


def test_a_parser_that_takes_too_long_is_stopped() -> None:
    def endless(_text: str, _tools: object) -> object:
        while True:
            pass

    form = AnswerFormat(calls=call_format("own", "<c>", "</c>", endless))
    before_s = time.process_time()

    assert told(read("<c>?</c>", form=form)) == [("text", "<c>?</c>")]
    assert time.process_time() - before_s < 0.05


def test_parsers_have_a_time_for_all_calls_of_an_answer_together() -> None:
    begun = []

    def slow(_text: str, _tools: object) -> object:
        begun.append(time.thread_time())
        while time.thread_time() < begun[-1] + MAX_PARSE_S / 3:
            pass
        return {"name": "add", "arguments": {}}

    form = AnswerFormat(calls=call_format("own", "<c>", "</c>", slow))

    said = told(read("<c>?</c>" * 9, form=form))

    # The third one is over it or just not.
    assert len(begun) in (3, 4)
    assert said[:2] == [("add", "{}")] * 2
    assert said[-1][1].endswith("<c>?</c>" * 5)


def test_what_looks_like_a_call_after_too_many_of_that_is_text_unread() -> None:
    begun = []
    form = AnswerFormat(calls=call_format("own", "<c>", "</c>", lambda text, _tools: begun.append(text)))

    said = told(read("<c>?</c>" * 1000, form=form))

    assert len(begun) == MAX_TOOL_CALLS
    assert said == [("text", "<c>?</c>" * 1000)]


@pytest.mark.parametrize(
    ("inner", "is_read"), [("1," * 9000, False), ("1," * 4000, True), ("x" * 60_000, True)]
)
def test_what_pythons_compiler_would_take_long_over_is_text(inner: str, is_read: bool) -> None:
    form = AnswerFormat(
        calls=call_format("pythonic", "<c>", "</c>", lambda *_: {"name": "add", "arguments": {}})
    )

    said = told(read(f"<c>{inner}</c>", form=form))

    assert said == ([("add", "{}")] if is_read else [("text", f"<c>{inner}</c>")])


def test_a_parser_warns_nobody_of_what_a_model_wrote() -> None:
    def warning(_text: str, _tools: object) -> object:
        warnings.warn("what it wrote", SyntaxWarning, stacklevel=1)
        return {"name": "add", "arguments": {}}

    form = AnswerFormat(calls=call_format("own", "<c>", "</c>", warning))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        said = told(read("<c>?</c>", form=form))

    assert [("add", "{}")] == said
    assert [] == seen


@pytest.mark.parametrize("num_more", [-1, 0, 1, 10, 99])
def test_how_a_call_of_the_longest_is_cut_does_not_matter(num_more: int) -> None:
    form = AnswerFormat(calls=call_format("own", "<c>", "</c>", lambda *_: {"name": "add", "arguments": {}}))
    text = "<c>" + ("x" * MAX_PARSED_CHARS + "<c>?" * 25)[: MAX_PARSED_CHARS + num_more] + "</c><c></c>"
    reader = AnswerReader(ID, form, TOOLS)
    items = [item for at in range(0, len(text), 50) for item in reader.feed(text[at : at + 50])]

    said = told(read(text, form=form))

    assert said == told(items + reader.finish(is_whole=True))
    assert (said[0][0] == "add") == (num_more <= 0)


@pytest.mark.parametrize("num_spaces", [0, 9, 256, 257, 300, 999])
@pytest.mark.parametrize("before", ["", "Hi.", "<think>Hm.</think>", LOOK])
def test_how_white_space_before_a_call_is_cut_does_not_matter(before: str, num_spaces: int) -> None:
    text = before + " " * num_spaces + ADD

    said = told(read(text))

    assert [said] * 9 == [told(read(text, seed=seed)) for seed in range(9)]
    assert said[-1][0] == "add"


def test_special_tokens_count_where_they_may_be_part_of_a_tag_or_a_call() -> None:
    form = AnswerFormat("<think>", "</think>", HERMES)
    reader = AnswerReader(ID, form, TOOLS)

    outside = [reader.shows(name) for name in ("<think>", "<tool_call>", "<|end|>")]
    reader.feed("<tool_call>")

    assert [True, True, False, True] == [*outside, reader.shows("<|end|>")]


def test_what_mutation_makes_of_a_call_is_neither_lost_nor_an_error() -> None:
    random = Random(1)
    for _ in range(300):
        text = list(f"Hi.\n{LOOK}{ADD}")
        for _ in range(random.randint(1, 6)):
            text[random.randrange(len(text))] = random.choice([*'{}[]",:<>/\\ax\n', ADD])

        said = told(read("".join(text), seed=random.randrange(100)))

        assert all(isinstance(json.loads(what), dict) for kind, what in said if kind != "text")


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("before", ["", " \n", "<think>Hm.</think>\n"])
def test_what_looks_like_a_call_within_an_answer_of_a_grammar_is_text(before: str, seed: int | None) -> None:
    """A schema's string may hold anything, also what somebody told the model to write."""
    answer = '{"said": "' + ADD.replace('"', "'") + '"}'
    called = told(read(before + LOOK, calls_first=True, seed=seed))
    answered = told(read(before + answer, calls_first=True, seed=seed))

    assert ("look", '{"at": "a {b} </x>"}') in called
    assert answered[-1][0] == "text"
    assert answered[-1][1].strip() == answer
