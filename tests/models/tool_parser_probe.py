"""Each of mlx-lm's tool parsers behind our reader: outputs of its family read, then mutated and read again.

Prints a JSON object a family: what its calls became, and how the mutated outputs went. Each is read twice,
whole and in pieces; what is read must not depend on that.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

import mlx_lm.tool_parsers
from call_outputs import mutated, random_calls, written

from transports.garbage import keep_what_lives
from transports.messages import ChatMessage, ChatRequest, Delta, Item, ReasoningDelta
from transports.tools import Tool, ToolCallBegin, ToolCallDelta, ToolCallEnd
from workers.generation.answers import AnswerFormat, AnswerReader
from workers.generation.tool_calls import Tools, tools_of
from workers.generation.tool_formats import MAX_PARSE_S, call_format

Clock = Callable[[], float]

ID = "request-1"
SCHEMA = {
    "type": "object",
    "properties": {"at": {"type": "string"}, "n": {"type": "integer"}, "on": {"type": "array"}},
}
TOOLS = (Tool(name="look", parameters=json.dumps(SCHEMA)), Tool(name="add"))
CALLS = [("look", {"at": "a, b", "n": 3}), ("add", {})]
# Mutations of an output before the next one is written.
NUM_EACH = 25
# Times are counted in this unit.
UNIT_S = 1e-4


class Findings:
    """What came of the mutated outputs of a family."""

    def __init__(self, family: str, calls: list[tuple[str, str]]) -> None:
        self.family = family
        self.calls = calls
        self.raised: list[str] = []
        # Read otherwise in pieces than at once.
        self.differing: list[str] = []
        self.num_called = 0
        # How often an output, at once, took so long; rounded down.
        self.times: Counter[int] = Counter()
        self.slowest_s = self.longest_step_s = self.slowest_wall_s = 0.0
        self.slowest = self.longest_step = ""


class Reading:
    """An output that was read."""

    def __init__(
        self, form: AnswerFormat, tools: Tools | None, pieces: Sequence[str], clock: Clock = time.perf_counter
    ) -> None:
        reader = AnswerReader(ID, form, tools)
        self.items: list[Item] = []
        began_s = time.thread_time()
        times_s = [clock()]
        for piece in pieces:
            self.items += reader.feed(piece)
            times_s.append(clock())
        self.items += reader.finish(is_whole=True)
        times_s.append(clock())
        # Of this thread: how long it stood still meanwhile is the machine's.
        self.took_s = time.thread_time() - began_s
        # By the clock, as the longest step, which is what other answers wait for.
        self.took_clock_s = times_s[-1] - times_s[0]
        self.longest_step_s = max(after - before for before, after in pairwise(times_s))

    def calls(self) -> list[tuple[str, str]]:
        """Name and arguments of each whole call."""
        begun = {item.index: item.name for item in self.items if isinstance(item, ToolCallBegin)}
        arguments = dict.fromkeys(begun, "")
        for item in self.items:
            if isinstance(item, ToolCallDelta):
                arguments[item.index] += item.arguments
            elif isinstance(item, ToolCallEnd) and item.is_broken:
                del begun[item.index]
        return [(name, arguments[index]) for index, name in begun.items()]

    def text(self) -> str:
        """What is no call."""
        return "".join(item.text for item in self.items if isinstance(item, Delta | ReasoningDelta))


def main() -> None:
    """Arguments: how many mutated outputs a family, and optionally which share of them this is."""
    num_mutated, share = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    # As a worker does before it serves; else what the libraries made is looked through now and then: 40 ms.
    keep_what_lives()
    for module in pkgutil.iter_modules(mlx_lm.tool_parsers.__path__):
        parser = importlib.import_module(f"mlx_lm.tool_parsers.{module.name}")
        calls = call_format(module.name, parser.tool_call_start, parser.tool_call_end, parser.parse_tool_call)
        form = AnswerFormat("<think>", "</think>", calls)
        whole = Reading(form, tools_of(asking(TOOLS)), [written(module.name, CALLS)])
        findings = Findings(module.name, whole.calls())
        random = Random(module.name + share)
        for at in range(num_mutated):
            if at % NUM_EACH == 0:
                tools, made = random_calls(random)
                known, text = tools_of(asking(tools)), written(module.name, made)
                other = written(random.choice(FAMILIES), made[:1])
            look_at(form, known, mutated(text, other, calls.start, random), random, findings)
        print(json.dumps(vars(findings)), flush=True)


FAMILIES = [module.name for module in pkgutil.iter_modules(mlx_lm.tool_parsers.__path__)]


def asking(tools: tuple[Tool, ...]) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content="x"),), tools=tools)


def look_at(form: AnswerFormat, tools: Tools | None, text: str, random: Random, findings: Findings) -> None:
    """Read an output at once and in pieces, and note what came of it."""
    # A model writes long ones in tokens of some characters.
    size = random.choice((1, 4, 20) if len(text) < 500 else (20, 50))
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    try:
        whole, cut = Reading(form, tools, [text]), Reading(form, tools, pieces)
        for reading in (whole, cut):
            assert all(isinstance(json.loads(arguments), dict) for _, arguments in reading.calls())
    except Exception as e:  # noqa: BLE001 - whatever it is, it is what we look for
        findings.raised.append(f"{type(e).__name__}: {e} of {text[:500]!r}")
        return
    # Where a parser is stopped for its time, and what its next call finds left, is chance.
    is_stopped = max(whole.took_s, cut.took_s) > MAX_PARSE_S / 2
    if not is_stopped and (whole.calls(), whole.text()) != (cut.calls(), cut.text()):
        findings.differing.append(f"in pieces of {size}: {text[:500]!r}")
    findings.num_called += bool(whole.calls())
    findings.slowest_wall_s = max(findings.slowest_wall_s, whole.took_clock_s)
    took_s, step_s = whole.took_s, cut.longest_step_s
    # Whatever else the machine does can only make it longer; and the wall's clock is quicker to read.
    if took_s > findings.slowest_s:
        took_s = min(took_s, *(Reading(form, tools, [text]).took_s for _ in range(2)))
    if step_s > findings.longest_step_s:
        step_s = min(Reading(form, tools, pieces, time.thread_time).longest_step_s for _ in range(2))
    if took_s > findings.slowest_s:
        findings.slowest_s, findings.slowest = took_s, f"{len(text)} characters: {text[:300]!r}"
    if step_s > findings.longest_step_s:
        findings.longest_step_s = step_s
        findings.longest_step = f"{len(text)} characters by {size}: {text[:300]!r}"
    findings.times[int(took_s / UNIT_S)] += 1


if __name__ == "__main__":
    main()
