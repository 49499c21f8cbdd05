"""Each of mlx-lm's tool parsers behind our reader: outputs of its family read, then mutated and read again.

Prints a JSON object a family: what the calls became, and how the mutated outputs went.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import time
from random import Random

import mlx_lm.tool_parsers

from transports.garbage import keep_what_lives
from transports.messages import ChatMessage, ChatRequest, Item
from transports.tools import Tool, ToolCallBegin, ToolCallDelta, ToolCallEnd
from workers.generation.answers import AnswerFormat, AnswerReader
from workers.generation.tool_calls import tools_of
from workers.generation.tool_formats import call_format

ID = "request-1"
SCHEMA = {
    "type": "object",
    "properties": {"at": {"type": "string"}, "n": {"type": "integer"}, "on": {"type": "array"}},
}
REQUEST = ChatRequest(
    messages=(ChatMessage(role="user", content="x"),),
    tools=(Tool(name="look", parameters=json.dumps(SCHEMA)), Tool(name="add")),
)
# What each family writes for look(at="a, b", n=3), and add() after it.
OUTPUTS = {
    "function_gemma": "<start_function_call>call:look{at:<escape>a, b<escape>,n:3}<end_function_call>"
    "<start_function_call>call:add{}<end_function_call>",
    "gemma4": '<|tool_call>call:look{at:<|"|>a, b<|"|>,n:3}<tool_call|><|tool_call>call:add{}<tool_call|>',
    "glm47": "<tool_call>look<arg_key>at</arg_key><arg_value>a, b</arg_value>\n<arg_key>n</arg_key>"
    "<arg_value>3</arg_value></tool_call><tool_call>add</tool_call>",
    "json_tools": '<tool_call>\n{"name": "look", "arguments": {"at": "a, b", "n": 3}}\n</tool_call>\n'
    '<tool_call>{"name": "add", "arguments": {}}</tool_call>',
    "kimi_k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>"
    '{"at": "a, b", "n": 3}<|tool_call_end|><|tool_call_begin|>functions.add:1<|tool_call_argument_begin|>'
    "{}<|tool_call_end|><|tool_calls_section_end|>",
    "kimi_k3": '<|open|>tools<|sep|><|open|>call tool="look" index="1"<|sep|>'
    '<|open|>argument key="at" type="string"<|sep|>a, b<|close|>argument<|sep|>'
    '<|open|>argument key="n" type="integer"<|sep|>3<|close|>argument<|sep|><|close|>call<|sep|>'
    '<|open|>call tool="add" index="2"<|sep|><|close|>call<|sep|><|close|>tools<|sep|>',
    "longcat": "<longcat_tool_call>look\n<longcat_arg_key>at</longcat_arg_key>\n"
    "<longcat_arg_value>a, b</longcat_arg_value>\n<longcat_arg_key>n</longcat_arg_key>\n"
    "<longcat_arg_value>3</longcat_arg_value>\n</longcat_tool_call>"
    '<longcat_tool_call>{"name": "add", "arguments": {}}</longcat_tool_call>',
    "minicpm5": '<function name="look"><param name="at">a, b</param><param name="n">3</param></function>\n'
    '<function name="add"></function>',
    "minimax_m2": '<minimax:tool_call>\n<invoke name="look">\n<parameter name="at">a, b</parameter>\n'
    '<parameter name="n">3</parameter>\n</invoke>\n<invoke name="add">\n</invoke>\n</minimax:tool_call>',
    "mistral": '[TOOL_CALLS]look[ARGS]{"at": "a, b", "n": 3}add[ARGS]{}',
    "muse_spark": '<atem:function_calls><atem:invoke name="look"><atem:parameter name="at">a, b'
    '</atem:parameter><atem:parameter name="n">3</atem:parameter></atem:invoke>'
    '<atem:invoke name="add"></atem:invoke></atem:function_calls>',
    "pythonic": '<|tool_call_start|>[look(at="a, b", n=3), add()]<|tool_call_end|>',
    "qwen3_coder": "<tool_call>\n<function=look>\n<parameter=at>\na, b\n</parameter>\n<parameter=n>\n3\n"
    "</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=add>\n</function>\n</tool_call>",
}
OUTPUTS["laguna"] = OUTPUTS["glm47"]
# Pieces that parsers look for, and what has made parsers slow or raise.
SPICE = [
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    "\\",
    ",",
    ":",
    "=",
    "<",
    ">",
    "\n",
    " ",
    "\x00",
    "é",
    "\ud7ff",
    "null",
    "1e999",
]
SPICE += [
    "(" * 300,
    "[" * 3000,
    "{" * 500,
    '{"a":' * 500,
    "-" * 2000,
    "9" * 5000,
    '"' * 999,
    "\\" * 999,
    "a=" * 999,
]


def seconds_of(form: AnswerFormat, text: str) -> float:
    """How long the processor works to read it, and to see that the arguments are objects."""
    started_s = time.process_time()
    calls = called(read(form, text))
    assert all(isinstance(json.loads(arguments), dict) for _, arguments in calls)
    return time.process_time() - started_s


def main() -> None:
    """Arguments: how many mutated outputs a family."""
    # As a worker does before it serves; else what the libraries made is looked through now and then: 40 ms.
    keep_what_lives()
    for module in pkgutil.iter_modules(mlx_lm.tool_parsers.__path__):
        parser = importlib.import_module(f"mlx_lm.tool_parsers.{module.name}")
        calls = call_format(module.name, parser.tool_call_start, parser.tool_call_end, parser.parse_tool_call)
        form = AnswerFormat(calls=calls)
        whole = OUTPUTS[module.name]
        said = {"family": module.name, "calls": called(read(form, whole)), "raised": "", "slowest_s": 0.0}
        random = Random(module.name)
        for _ in range(int(sys.argv[1])):
            text = mutated(whole, calls.start, random)
            try:
                took_s = seconds_of(form, text)
                if took_s > said["slowest_s"]:  # type: ignore[operator]
                    # Whatever else the machine does can only make it longer.
                    took_s = min(took_s, *(seconds_of(form, text) for _ in range(4)))
            except Exception as e:  # noqa: BLE001 - whatever it is, it is what we look for
                said["raised"] = f"{type(e).__name__}: {e} of {text[:500]!r}"
                continue
            if took_s > said["slowest_s"]:  # type: ignore[operator]
                said |= {"slowest_s": took_s, "slowest": text[:300]}
        print(json.dumps(said), flush=True)


def read(form: AnswerFormat, text: str) -> list[Item]:
    reader = AnswerReader(ID, form, tools_of(REQUEST))
    items: list[Item] = []
    for at in range(0, len(text), 50):
        items += reader.feed(text[at : at + 50])
    return items + reader.finish(is_whole=True)


def called(items: list[Item]) -> list[tuple[str, str]]:
    """Name and arguments of each whole call."""
    begun = {item.index: item.name for item in items if isinstance(item, ToolCallBegin)}
    arguments = dict.fromkeys(begun, "")
    for item in items:
        if isinstance(item, ToolCallDelta):
            arguments[item.index] += item.arguments
        elif isinstance(item, ToolCallEnd) and item.is_broken:
            del begun[item.index]
    return [(name, arguments[index]) for index, name in begun.items()]


def mutated(text: str, start: str, random: Random) -> str:
    """With some pieces cut out, put in or doubled; the start tag stays, so that it is looked at."""
    body = text.removeprefix(start)
    for _ in range(random.randint(1, 5)):
        at, to = sorted(random.randrange(len(body) + 1) for _ in range(2))
        match random.randrange(4):
            case 0:
                body = body[:at] + body[min(to, at + 9) :]
            case 1:
                body = body[:at] + random.choice(SPICE) * random.choice([1, 1, 1, 20]) + body[at:]
            case 2:
                body = body[:to] + body[at:]
            case _:
                body = body[:at] + "".join(random.sample(body[at:to], to - at)) + body[to:]
    return start + body[:200_000]


if __name__ == "__main__":
    main()
