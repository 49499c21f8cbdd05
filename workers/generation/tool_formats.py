"""How families of models write calls of tools, and what mlx-lm's parsers make of that, kept in bounds.

Imports no mlx: a worker hands mlx-lm's parser in.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transports.tools import MAX_JSON_CHARS
from workers.generation.deadline import within

# Of the processor, for all calls of an answer together. A parser may take quadratic time over what a model
# wrote; neighbours wait meanwhile.
MAX_PARSE_S = 0.03
# Of a call that is read as a whole, because its family's arguments are no JSON. mlx-lm's parsers
# are quick up to here.
MAX_PARSED_CHARS = 64 * 1024
# Of a call that is read as Python, or may be: its compiler, which no signal stops, takes 100 ms for 64 kB of
# "1,", and next to nothing for a long text.
MAX_PYTHON_SIGNS = 8 * 1024
_PYTHON = frozenset({"pythonic", "glm47", "laguna", "longcat", "kimi_k2", "qwen3_coder"})
_SIGNS = ",:=.()[]{}<>+-*/%|&^~@"

# Any: the parsers of mlx-lm have no types and give whatever the model wrote.
Parse = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How a family of models writes calls."""

    # The module of `mlx_lm.tool_parsers` for it.
    family: str
    # Around one or more calls; no end means the end of the answer.
    start: str
    end: str
    parse: Parse
    # From the beginning of a call to that of its arguments, which are JSON and need no parser: `name` in it.
    head: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call that was read as a whole."""

    name: str
    # A JSON object.
    arguments: str


_NAME = r"""(?P<name>[^\s"'<>\[\]{}:]+)"""
_BARE_NAME = re.compile(_NAME)
_HEADS = {
    "json_tools": re.compile(
        rf'[\s\[\]}},]*\{{\s*"name"\s*:\s*"{_NAME}"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{{)'
    ),
    "mistral": re.compile(rf"\s*(?:\[TOOL_CALLS\]\s*)?{_NAME}\s*(?:\[CALL_ID\]\w+\s*)?\[ARGS\]\s*(?=\{{)"),
    "kimi_k2": re.compile(
        rf"\s*(?:<\|tool_call_end\|>\s*)?<\|tool_call_begin\|>\s*(?:functions\.)?{_NAME}:\d+\s*<\|tool_call_argument_begin\|>\s*(?=\{{)"
    ),
}


def call_format(family: str, start: str, end: str, parse: Parse) -> CallFormat:
    """The format that mlx-lm found for a model.

    Args:
        family: The module of `mlx_lm.tool_parsers`; the others are what it says.
    """
    return CallFormat(family, start, end, parse, _HEADS.get(family))


# What most models write, after NousResearch's Hermes; needs no mlx-lm.
HERMES = call_format("json_tools", "<tool_call>", "</tool_call>", lambda text, _tools: json.loads(text))


def parse_calls(
    form: CallFormat, text: str, tools: Sequence[Mapping[str, object]], names: frozenset[str], limit_s: float
) -> list[ParsedCall] | None:
    """What the family's parser makes of *text*; None if it is no call of the tools, or takes too long.

    Args:
        text: Between start and end.
        tools: As chat templates and parsers know them.
        names: Of the tools.
        limit_s: How long the parser may take.
    """
    if len(text) > MAX_PARSED_CHARS or limit_s <= 0:
        return None
    if form.family in _PYTHON and sum(map(text.count, _SIGNS)) > MAX_PYTHON_SIGNS:
        return None
    try:
        calls = within(limit_s, TimeoutError(), lambda: _parsed(form, text, tools))
    except Exception:  # noqa: BLE001 - a parser may raise anything over what a model wrote
        return None
    return calls if calls and all(call.name in names for call in calls) else None


def _parsed(form: CallFormat, text: str, tools: Sequence[Mapping[str, object]]) -> list[ParsedCall]:
    if form.family == "longcat" and _BARE_NAME.fullmatch(text.strip()):
        # mlx-lm's parser raises over a call without arguments, a name and nothing else.
        return [ParsedCall(text.strip(), "{}")]
    with warnings.catch_warnings():
        # Some read values as Python does, which warns of "1or" on stderr.
        warnings.simplefilter("ignore")
        parsed = form.parse(text, tools)
    return [_call(one) for one in (parsed if isinstance(parsed, list) else [parsed])]


# Any: see `Parse`.
def _call(parsed: Any) -> ParsedCall:
    arguments = parsed["arguments"] if "arguments" in parsed else parsed.get("parameters", {})
    if isinstance(arguments, str):
        # Some templates show the model its arguments as a text.
        arguments = json.loads(arguments)
    if not isinstance(arguments, dict):
        raise TypeError("expected an object")
    if not isinstance(parsed["name"], str):
        raise TypeError("expected a name")
    text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    # A surrogate alone, which JSON may spell, is no text for the wire.
    text.encode()
    if len(text) > MAX_JSON_CHARS:
        raise ValueError("too long")
    return ParsedCall(parsed["name"], text)
