"""What a family of models writes when it calls tools, as a grammar. Knows no llguidance."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from transports.errors import RequestError, TaskNotSupported
from transports.messages import MAX_GRAMMAR_CHARS, Grammar
from transports.tools import ToolChoice
from workers.generation.bare_arguments import Bare, bare_rules
from workers.generation.call_layouts import LAYOUTS, Layout
from workers.generation.property_types import unforceable
from workers.generation.schemas import SCHEMA_OPTIONS, check_schema, without_leap_seconds, without_unnamed
from workers.generation.shared_rules import SharedRules
from workers.generation.tagged_arguments import Tags, tagged_rules
from workers.generation.tool_calls import Tools
from workers.generation.tool_formats import CallFormat

# The id of the token of this name, where it is one token.
FindToken = Callable[[str], int | None]

_PARAM = "tool_choice"
# llguidance takes what is forced for the token of that name, and then refuses it where it is text.
_TAG = re.compile(r"(<[^<>]+>)")
_NUMBER = "/[1-9][0-9]{0,2}/"
# As templates show calls, and without the white space that a model may lose itself in.
_OPTIONS = {
    **{name: value for name, value in SCHEMA_OPTIONS.items() if name != "whitespace_pattern"},
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


# The name under which the grammar of calls knows that of the answer.
ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class CallsOrAnswer:
    """What an answer keeps to that either calls tools or says what a grammar has it say."""

    # Refers to the other one as `ANSWER`.
    calls: Grammar
    answer: Grammar

    @property
    def param(self) -> str:
        """See `Grammar.param`."""
        return self.answer.param

    @property
    def text(self) -> str:
        """Of both."""
        return f"{self.calls.text}\n{self.answer.text}"


def forced_calls(form: CallFormat, tools: Tools, choice: ToolChoice, find: FindToken) -> Grammar:
    """The grammar of an answer that calls at least one tool, with arguments of its schema.

    Raises:
        RequestError: The family's calls cannot be forced, or a schema cannot be.
    """
    layout = LAYOUTS.get(form.family)
    if layout is None:
        raise TaskNotSupported(
            f'{_PARAM}: expected "auto" or "none": calls as this model writes them cannot be forced here',
            param=_PARAM,
        )
    return _grammar(layout, tools, choice, find)


def calls_or_answer(form: CallFormat, tools: Tools, answer: Grammar, find: FindToken) -> CallsOrAnswer:
    """What an answer keeps to that calls tools as in `forced_calls`, or keeps to *answer*.

    Raises:
        RequestError: As `forced_calls`.
    """
    layout = LAYOUTS.get(form.family)
    if layout is None:
        raise TaskNotSupported(
            f"{answer.param}: not together with tools: calls as this model writes them cannot be part of a "
            f'grammar here; leave out {answer.param} or tools, or send tool_choice "none"',
            param=answer.param,
        )
    return CallsOrAnswer(_grammar(layout, tools, ToolChoice(), find, f" | @{ANSWER}"), answer)


def _grammar(
    layout: Layout, tools: Tools, choice: ToolChoice, find: FindToken, otherwise: str = ""
) -> Grammar:
    def pieces(texts: tuple[str, ...], name: str = "") -> str:
        return " ".join(
            _NUMBER if text == "NUMBER" else _piece(text.replace("NAME", name), find) for text in texts
        )

    rules, calls = [], []
    shared = SharedRules()
    for at, definition in enumerate(tools.definitions):
        name, schema = _function(definition)
        if choice.name in (None, name):
            if not layout.is_name(name):
                raise unforceable(f"tools[{at}].function.name", "such a name cannot be written")
            calls.append(f"call{at}")
            rules.append(f"call{at}: {pieces(layout.head, name)} args{at} {pieces(layout.tail)}")
            try:
                rules += _arguments(layout, schema, at, find, shared)
            except RecursionError:
                raise unforceable(f"tools[{at}].function.parameters", "its references are too deep") from None
    more = f"({pieces(layout.between)} call)*" if tools.parallel else ""
    start = f"start: {pieces(layout.before)} call {more} {pieces(layout.after)}{otherwise}"
    text = "\n".join([start, f"call: {' | '.join(calls)}", *rules, *shared.lines()])
    if len(text) > MAX_GRAMMAR_CHARS:
        raise RequestError(
            f"{_PARAM}: expected tools whose schemas have at most {MAX_GRAMMAR_CHARS} characters together, "
            f"got {len(text)}",
            param=_PARAM,
        )
    return Grammar(kind="lark", text=text, param=_PARAM)


def _piece(text: str, find: FindToken) -> str:
    """A text as the model writes it: tags are tokens where they are one, also among words."""
    written, words = [], ""
    for part in [text] if find(text) is not None else _TAG.split(text):
        token = find(part) if part else None
        if token is None:
            words += part
        else:
            written += [*([json.dumps(words)] if words else []), f"<[{token}]>"]
            words = ""
    return " ".join([*written, *([json.dumps(words)] if words else [])])


def _function(definition: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    function = definition["function"]
    if not isinstance(function, dict):
        raise TypeError("expected a definition as tools_of makes it")
    return function["name"], function["parameters"]


def _arguments(
    layout: Layout, schema: dict[str, object], at: int, find: FindToken, shared: SharedRules
) -> Iterator[str]:
    check_schema(schema, f"tools[{at}].function.parameters")
    closed = without_unnamed(schema)

    def piece(text: str) -> str:
        return _piece(text, find)

    if isinstance(layout.arguments, Tags):
        yield from tagged_rules(layout.arguments, closed, at, piece, _OPTIONS, shared)
    elif isinstance(layout.arguments, Bare):
        yield from bare_rules(layout.arguments, closed, at, piece, _OPTIONS, shared)
    elif not schema.get("properties") and "additionalProperties" not in schema:
        # It takes nothing; "object" alone would be anything.
        yield f'args{at}: "{{}}"'
    else:
        # Arguments are an object, whether the schema says it or not.
        object_ = {"type": "object", **without_leap_seconds(closed), "x-guidance": _OPTIONS}
        yield f"args{at}: %json {json.dumps(object_)}"
