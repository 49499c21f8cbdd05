"""What a family of models writes when it calls tools, as a grammar. Knows no llguidance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from transports.errors import RequestError, TaskNotSupported
from transports.messages import MAX_GRAMMAR_CHARS, Grammar
from transports.tools import ToolChoice
from workers.generation.schemas import SCHEMA_OPTIONS, check_schema, without_unnamed
from workers.generation.tagged_arguments import Tags, tagged_rules
from workers.generation.tool_calls import Tools
from workers.generation.tool_formats import CallFormat

# The id of the token of this name, where it is one token.
FindToken = Callable[[str], int | None]

_PARAM = "tool_choice"
# As templates show calls, and without the white space that a model may lose itself in.
_OPTIONS = {
    **{name: value for name, value in SCHEMA_OPTIONS.items() if name != "whitespace_pattern"},
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a family writes calls, in pieces: tags are pieces of their own. NAME is the tool's."""

    # Once, around all calls.
    before: tuple[str, ...]
    after: tuple[str, ...]
    # Around the arguments of each.
    head: tuple[str, ...]
    tail: tuple[str, ...]
    between: tuple[str, ...] = ()
    # Around each argument; None: all of them are one JSON object.
    tags: Tags | None = None


_LAYOUTS = {
    "json_tools": _Layout(
        before=(),
        after=(),
        head=("<tool_call>", '\n{"name": "NAME", "arguments": '),
        tail=("}\n", "</tool_call>"),
        between=("\n",),
    ),
    "mistral": _Layout(before=(), after=(), head=("[TOOL_CALLS]", "NAME", "[ARGS]"), tail=()),
    "kimi_k2": _Layout(
        before=("<|tool_calls_section_begin|>",),
        after=("<|tool_calls_section_end|>",),
        head=("<|tool_call_begin|>", "functions.NAME:0", "<|tool_call_argument_begin|>"),
        tail=("<|tool_call_end|>",),
    ),
    "qwen3_coder": _Layout(
        before=(),
        after=(),
        head=("<tool_call>", "\n<function=NAME>\n"),
        tail=("</function>\n", "</tool_call>"),
        between=("\n",),
        tags=Tags(
            before=("<parameter=KEY>",),
            pad="\n",
            end="</parameter>",
            after="\n",
            call_end="</tool_call>",
        ),
    ),
    "glm47": _Layout(
        before=(),
        after=(),
        head=("<tool_call>", "NAME\n"),
        tail=("</tool_call>",),
        between=("\n",),
        tags=Tags(
            before=("<arg_key>", "KEY", "</arg_key>", "\n", "<arg_value>"),
            pad="",
            end="</arg_value>",
            after="\n",
            call_end="</tool_call>",
        ),
    ),
    "minimax_m2": _Layout(
        before=("<minimax:tool_call>", "\n"),
        after=("</minimax:tool_call>",),
        head=('<invoke name="NAME">\n',),
        tail=("</invoke>\n",),
        tags=Tags(
            before=('<parameter name="KEY">',),
            pad="",
            end="</parameter>",
            after="\n",
            call_end="</minimax:tool_call>",
        ),
    ),
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
    layout = _LAYOUTS.get(form.family)
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
    layout = _LAYOUTS.get(form.family)
    if layout is None:
        raise TaskNotSupported(
            f"{answer.param}: not together with tools: calls as this model writes them cannot be part of a "
            f'grammar here; leave out {answer.param} or tools, or send tool_choice "none"',
            param=answer.param,
        )
    return CallsOrAnswer(_grammar(layout, tools, ToolChoice(), find, f" | @{ANSWER}"), answer)


def _grammar(
    layout: _Layout, tools: Tools, choice: ToolChoice, find: FindToken, otherwise: str = ""
) -> Grammar:
    def pieces(texts: tuple[str, ...], name: str = "") -> str:
        return " ".join(_piece(text.replace("NAME", name), find) for text in texts)

    rules, calls = [], []
    for at, definition in enumerate(tools.definitions):
        name, schema = _function(definition)
        if choice.name in (None, name):
            calls.append(f"call{at}")
            rules.append(f"call{at}: {pieces(layout.head, name)} args{at} {pieces(layout.tail)}")
            rules += _arguments(layout, schema, at, find)
    more = f"({pieces(layout.between)} call)*" if tools.parallel else ""
    start = f"start: {pieces(layout.before)} call {more} {pieces(layout.after)}{otherwise}"
    text = "\n".join([start, f"call: {' | '.join(calls)}", *rules])
    if len(text) > MAX_GRAMMAR_CHARS:
        raise RequestError(
            f"{_PARAM}: expected tools whose schemas have at most {MAX_GRAMMAR_CHARS} characters together, "
            f"got {len(text)}",
            param=_PARAM,
        )
    return Grammar(kind="lark", text=text, param=_PARAM)


def _piece(text: str, find: FindToken) -> str:
    token = find(text)
    return json.dumps(text) if token is None else f"<[{token}]>"


def _function(definition: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    function = definition["function"]
    if not isinstance(function, dict):
        raise TypeError("expected a definition as tools_of makes it")
    return function["name"], function["parameters"]


def _arguments(layout: _Layout, schema: dict[str, object], at: int, find: FindToken) -> Iterator[str]:
    check_schema(schema, f"tools[{at}].function.parameters")
    if layout.tags is not None:
        closed = without_unnamed(schema)
        yield from tagged_rules(layout.tags, closed, at, lambda text: _piece(text, find), _OPTIONS)
    elif not schema.get("properties") and "additionalProperties" not in schema:
        # It takes nothing; "object" alone would be anything.
        yield f'args{at}: "{{}}"'
    else:
        # Arguments are an object, whether the schema says it or not.
        object_ = {"type": "object", **without_unnamed(schema), "x-guidance": _OPTIONS}
        yield f"args{at}: %json {json.dumps(object_)}"
