"""Calls of tools as each family of models writes them, and what may become of such a text on the way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from transports.tools import Tool

# Name and arguments.
Call = tuple[str, Mapping[str, Any]]

# As people name tools and arguments, and as nobody should.
NAMES = ("look", "add", "get_weather", "web.search", "run-it", "größe", "型", "a", "type", "name")
KEYS = ("at", "n", "query", "file_path", "größe", "名", "type", "name", "arguments", "x-y", "_", "Title")
TYPES = ("string", "integer", "number", "boolean", "array", "object")
WORDS = (
    "",
    "a, b",
    "null",
    "3",
    "true",
    "größer",
    "日本",
    "🙂",
    "a\nb",
    'say "x"',
    "it's",
    "<b>",
    "{}",
    "a=1",
)

# What has made parsers slow or raise, short and long.
SPICE = (
    *("{", "}", "[", "]", '"', "'", "\\", ",", ":", "=", "<", ">", "\n", " ", "(", ")", "#", "|", "&", ";"),
    *("\x00", "\x0c", "\x1b[2J", "\x7f", "\u2028", "\ufeff", "\u202e", "\ufffd", "e\u0301", "\U0001d518"),
    *("\\x", "\\ud800", "\\u0000", "\\udfff\\ud800", "\\N{BULLET}", "&quot;", "<![CDATA[", "]]>", "```json"),
    *("null", "None", "true", "True", "NaN", "-Infinity", "1e999", "1e5000", "-0", "0x1f", "1_0", "1or 2"),
    *("b''", "f'{1}'", "1+1j", "...", "*a", "**a", "a.b", "lambda: 0", "__import__('os')", "a if b else c"),
)
LONG_SPICE = (
    *("9" * 5000, "[" * 3000, "{" * 500, "(" * 300, '{"a":' * 500, "a[" * 150, "1," * 4000, " " * 3000),
    *('"' * 999, "\\" * 999, "''" * 999, "a=" * 999, "a." * 2000, "-" * 2000, "~" * 4000, "not " * 999),
    "9**" * 99,
)
# Long ones are rarer than short ones, for they take their time.
SPICES = (SPICE,) * 19 + (LONG_SPICE,)
TIMES = (1,) * 99 + (20,)
DEPTHS = (5, 9, 63, 64, 65, 200) * 33 + (1000, 20_000)
# Of a mutated output.
MAX_CHARS = 100 * 1024
# Up to which size a text is made longer by repetition.
SIZES = (100,) * 600 + (1000,) * 360 + (10_000,) * 25 + (64 * 1024,) * 14 + (MAX_CHARS,)


def written(family: str, calls: Sequence[Call]) -> str:
    """What a model of the family writes to call."""
    return _WRITERS[family](calls)


def random_calls(random: Random) -> tuple[tuple[Tool, ...], list[Call]]:
    """Tools with schemas, and calls of some of them that keep to these."""
    tools, calls = [], []
    for name in random.sample(NAMES, random.randint(1, 4)):
        types = {key: random.choice(TYPES) for key in random.sample(KEYS, random.randint(0, 5))}
        properties = {key: {"type": type_} for key, type_ in types.items()}
        tools.append(Tool(name=name, parameters=json.dumps({"type": "object", "properties": properties})))
        if random.random() < 0.7 or not calls:
            calls.append((name, {key: _value(type_, random, 2) for key, type_ in types.items()}))
    return tuple(tools), calls


def mutated(text: str, other: str, start: str, random: Random) -> str:
    """With some pieces cut out, put in, doubled, shuffled, repeated at length, or taken from *other*.

    Args:
        start: The family's start tag; most often it stays, so that what follows is looked at.
    """
    body = text.removeprefix(start)
    pieces = pieces_of(text)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        body = random.choice(_MUTATIONS)(body, other, pieces, random)
    return (start if random.random() < 0.95 else "") + body[:MAX_CHARS]


def pieces_of(text: str) -> list[str]:
    """Its tags, words and signs, each once."""
    return list(dict.fromkeys(re.findall(r"<[^<>]*>|\w+|\s+|[^\w\s]", text))) or [" "]


def _cut(body: str, _other: str, _pieces: Sequence[str], random: Random) -> str:
    at = random.randrange(len(body) + 1)
    return body[:at] + body[at + random.choice((1, 1, 3, 9, 40)) :]


def _end(body: str, _other: str, _pieces: Sequence[str], random: Random) -> str:
    return body[: random.randrange(len(body) + 1)]


def _double(body: str, _other: str, _pieces: Sequence[str], random: Random) -> str:
    at, to = _stretch(body, random)
    return body[:to] + body[at:]


def _shuffle(body: str, _other: str, _pieces: Sequence[str], random: Random) -> str:
    at, to = _stretch(body, random)
    to = min(to, at + 99)
    return body[:at] + "".join(random.sample(body[at:to], to - at)) + body[to:]


def _spice(body: str, _other: str, _pieces: Sequence[str], random: Random) -> str:
    at = random.randrange(len(body) + 1)
    return body[:at] + random.choice(random.choice(SPICES)) * random.choice(TIMES) + body[at:]


def _swap(body: str, _other: str, pieces: Sequence[str], random: Random) -> str:
    """One piece, once or everywhere, becomes another one or something foreign."""
    to = random.choice(pieces if random.random() < 0.5 else SPICE)
    return body.replace(random.choice(pieces), to, random.choice((1, 1, 2, 200)))


def _splice(body: str, other: str, _pieces: Sequence[str], random: Random) -> str:
    at, (first, last) = random.randrange(len(body) + 1), _stretch(other, random)
    return body[:at] + other[first:last] + body[random.choice((at, len(body))) :]


def _repeat(body: str, _other: str, pieces: Sequence[str], random: Random) -> str:
    """What regular expressions take long over: a few pieces again and again, and then none of them."""
    unit = "".join(random.choices(pieces if random.random() < 0.8 else SPICE, k=random.randint(1, 4)))
    at = random.randrange(len(body) + 1)
    return body[:at] + unit * (random.choice(SIZES) // len(unit)) + body[at:]


def _repeat_stretch(body: str, _other: str, _pieces: Sequence[str], random: Random) -> str:
    at, to = _stretch(body, random)
    return body[:at] + body[at:to] * (random.choice(SIZES) // max(to - at, 1)) + body[to:]


def _nest(body: str, _other: str, _pieces: Sequence[str], random: Random) -> str:
    opening, closing = random.choice((("[", "]"), ('{"a":', "}"), ("(", ")"), ("{a:", "}"), ("a(b=", ")")))
    depth = random.choice(DEPTHS)
    at = random.randrange(len(body) + 1)
    return body[:at] + opening * depth + random.choice(("", "1", "]")) + closing * depth + body[at:]


_MUTATIONS = (_cut, _cut, _end, _double, _shuffle, _spice, _spice, _swap, _swap, _splice)
_MUTATIONS += (_repeat, _repeat_stretch, _nest)


def _stretch(text: str, random: Random) -> tuple[int, int]:
    at, to = sorted((random.randrange(len(text) + 1), random.randrange(len(text) + 1)))
    return at, to


def _value(type_: str, random: Random, depth: int) -> object:
    match type_:
        case "integer":
            return random.choice((0, 1, -7, 10**12, random.randrange(1000)))
        case "number":
            return random.choice((0.5, -1e-7, 3, 2.5e300))
        case "boolean":
            return random.random() < 0.5
        case "string":
            return random.choice(WORDS) * random.choice((1, 1, 1, 30))
    kinds = random.choices(TYPES[:4] if depth == 0 else TYPES, k=random.randint(0, 3))
    values = [_value(kind, random, depth - 1) for kind in kinds]
    return values if type_ == "array" else dict(zip(KEYS, values, strict=False))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(value: object) -> str:
    """As between tags: texts as they are."""
    return value if isinstance(value, str) else _json(value)


def _each(around: str, argument: str, bare: str = "") -> Callable[[Sequence[Call]], str]:
    """A writer: *around* each call, with NAME and ARGS, and *argument* with KEY and VALUE.

    Args:
        bare: For a call without arguments, where that is another.
    """

    def write(calls: Sequence[Call]) -> str:
        written = []
        for name, arguments in calls:
            said = "".join(
                argument.replace("KEY", key).replace("VALUE", _plain(value))
                for key, value in arguments.items()
            )
            form = around if arguments or not bare else bare
            written.append(form.replace("NAME", name).replace("ARGS", said))
        return "".join(written)

    return write


def _within(
    before: str, write: Callable[[Sequence[Call]], str], after: str
) -> Callable[[Sequence[Call]], str]:
    return lambda calls: before + write(calls) + after


def _quoted(value: object, quote: str) -> str:
    """As the families of Gemma write values: names bare, texts between *quote*."""
    if isinstance(value, str):
        return f"{quote}{value}{quote}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_quoted(one, quote)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_quoted(one, quote) for one in value) + "]"
    return _json(value)


def _gemma(start: str, quote: str, end: str) -> Callable[[Sequence[Call]], str]:
    return lambda calls: "".join(
        f"{start}call:{name}{_quoted(arguments, quote)}{end}" for name, arguments in calls
    )


def _pythonic(calls: Sequence[Call]) -> str:
    said = [f"{name}({', '.join(f'{key}={value!r}' for key, value in of.items())})" for name, of in calls]
    return f"<|tool_call_start|>[{', '.join(said)}]<|tool_call_end|>"


def _json_calls(start: str, head: str, end: str) -> Callable[[Sequence[Call]], str]:
    return lambda calls: "".join(
        start + head.replace("NAME", name).replace("AT", str(at)) + _json(arguments) + end
        for at, (name, arguments) in enumerate(calls)
    )


def _kimi_k3(calls: Sequence[Call]) -> str:
    said = ""
    for at, (name, arguments) in enumerate(calls, 1):
        said += f'<|open|>call tool="{name}" index="{at}"<|sep|>'
        for key, value in arguments.items():
            type_ = "string" if isinstance(value, str) else "object"
            said += (
                f'<|open|>argument key="{key}" type="{type_}"<|sep|>{_plain(value)}<|close|>argument<|sep|>'
            )
        said += "<|close|>call<|sep|>"
    return said


_WRITERS: dict[str, Callable[[Sequence[Call]], str]] = {
    "function_gemma": _gemma("<start_function_call>", "<escape>", "<end_function_call>"),
    "gemma4": _gemma("<|tool_call>", '<|"|>', "<tool_call|>"),
    "glm47": _each(
        "<tool_call>NAME\nARGS</tool_call>\n",
        "<arg_key>KEY</arg_key>\n<arg_value>VALUE</arg_value>\n",
    ),
    "json_tools": _json_calls("<tool_call>\n", '{"name": "NAME", "arguments": ', "}\n</tool_call>\n"),
    "kimi_k2": _within(
        "<|tool_calls_section_begin|>",
        _json_calls(
            "<|tool_call_begin|>", "functions.NAME:AT<|tool_call_argument_begin|>", "<|tool_call_end|>"
        ),
        "<|tool_calls_section_end|>",
    ),
    "kimi_k3": _within("<|open|>tools<|sep|>", _kimi_k3, "<|close|>tools<|sep|>"),
    "longcat": _each(
        "<longcat_tool_call>NAME\nARGS</longcat_tool_call>\n",
        "<longcat_arg_key>KEY</longcat_arg_key>\n<longcat_arg_value>VALUE</longcat_arg_value>\n",
        bare='<longcat_tool_call>{"name": "NAME", "arguments": {}}</longcat_tool_call>\n',
    ),
    "minicpm5": _each('<function name="NAME">ARGS</function>\n', '<param name="KEY">VALUE</param>'),
    "minimax_m2": _within(
        "<minimax:tool_call>\n",
        _each('<invoke name="NAME">\nARGS</invoke>\n', '<parameter name="KEY">VALUE</parameter>\n'),
        "</minimax:tool_call>",
    ),
    "mistral": _within("[TOOL_CALLS]", _json_calls("", "NAME[ARGS]", ""), ""),
    "muse_spark": _within(
        "<atem:function_calls>",
        _each(
            '<atem:invoke name="NAME">ARGS</atem:invoke>',
            '<atem:parameter name="KEY">VALUE</atem:parameter>',
        ),
        "</atem:function_calls>",
    ),
    "pythonic": _pythonic,
    "qwen3_coder": _each(
        "<tool_call>\n<function=NAME>\nARGS</function>\n</tool_call>\n",
        "<parameter=KEY>\nVALUE\n</parameter>\n",
    ),
}
_WRITERS["laguna"] = _WRITERS["glm47"]
