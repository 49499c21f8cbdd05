"""The calls of tools between a start and an end tag, as they come. Knows no model.

Arguments that are JSON are passed on as they come; those of other families when the call is whole.
"""

from __future__ import annotations

import json
import secrets
import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from transports.errors import RequestError
from transports.messages import ChatRequest, Delta, Item
from transports.tools import MAX_JSON_CHARS, MAX_TOOL_CALLS, Tool, ToolCallBegin, ToolCallDelta, ToolCallEnd
from workers.generation.json_object import JsonObject
from workers.generation.property_types import typed_definitions
from workers.generation.tool_formats import MAX_PARSE_S, MAX_PARSED_CHARS, CallFormat, ParsedCall, parse_calls

# Mistral's templates want exactly nine letters and digits.
_ID_CHARACTERS = string.ascii_letters + string.digits
_ID_LENGTH = 9
# A name and what is around it.
_MAX_HEAD_CHARS = 1024
# What may stand between calls and after the last one: the brackets around them.
_BRACKETS = " \t\r\n}],"


@dataclass(slots=True)
class CallCount:
    """The calls of an answer so far."""

    # Also those that turned out broken.
    begun: int = 0
    sound: int = 0
    # What began with a start tag, whether it had calls in it or not.
    num_blocks: int = 0
    # What parsers took for them, of the processor.
    parsed_s: float = 0.0

    @property
    def is_full(self) -> bool:
        """Whether what looks like a call from now on is text."""
        return max(self.begun, self.num_blocks) >= MAX_TOOL_CALLS


@dataclass(frozen=True)
class Tools:
    """What may be called."""

    # As chat templates and parsers know them.
    definitions: Sequence[Mapping[str, object]]
    names: frozenset[str]
    # Whether more than one may be called.
    parallel: bool = True

    @cached_property
    def typed(self) -> Sequence[Mapping[str, object]]:
        """The definitions as parsers take them."""
        return typed_definitions(self.definitions)


def tools_of(body: ChatRequest) -> Tools | None:
    """What the answer to *body* may call; None: nothing.

    Raises:
        RequestError: A schema is no object.
    """
    if not body.tools or body.tool_choice.mode == "none":
        return None
    return Tools(
        definitions=[_definition(tool, f"tools[{at}].parameters") for at, tool in enumerate(body.tools)],
        names=frozenset(tool.name for tool in body.tools),
        parallel=body.parallel_tool_calls,
    )


class CallReader:
    """Reads one block of calls. At its end `is_over` is set, and `rest` is what came after it."""

    def __init__(self, request_id: str, form: CallFormat, tools: Tools, count: CallCount) -> None:
        """Nothing has come but the start tag.

        Args:
            count: Of the answer, and kept up to date.
        """
        self.is_over = False
        self.rest = ""
        # Its last part was no call, and given back as text.
        self.is_broken = False
        self._id = request_id
        self._form = form
        self._tools = tools
        self._count = count
        count.num_blocks += 1
        # Not read yet, and from where on there may be an end tag.
        self._text = ""
        self._searched = 0
        # The call whose arguments are coming, and what the model wrote of it.
        self._arguments: JsonObject | None = None
        self._raw: list[str] = []
        self._num_raw = 0
        # Sound calls of this block.
        self._num_calls = 0

    def feed(self, text: str) -> list[Item]:
        """Take new text; nothing may be fed when the block is over."""
        self._text += text
        items: list[Item] = []
        while self._read(items):
            pass
        return items

    def finish(self, *, is_whole: bool) -> list[Item]:
        """The answer ends within the block.

        Args:
            is_whole: The model itself ended it; it may leave the end tag out.
        """
        items: list[Item] = []
        if self._arguments is not None:
            self._break("", "", items)
        elif self._num_calls and not self._text.strip(_BRACKETS):
            self._leave("")
        elif is_whole:
            self._read_whole(self._text, "", "", items)
        else:
            self._break(self._text, "", items)
        return items

    def _read(self, items: list[Item]) -> bool:
        """One step; whether another may follow."""
        if self.is_over:
            return False
        if self._arguments is not None:
            return self._read_arguments(self._arguments, items)
        return self._begin(items) or self._end(items)

    def _begin(self, items: list[Item]) -> bool:
        """A call whose arguments are about to come as JSON."""
        if self._form.head is None or self._count.begun >= MAX_TOOL_CALLS:
            return False
        if self._searched > _MAX_HEAD_CHARS:
            # It was not there when there was less.
            return False
        found = self._form.head.match(self._text, 0, _MAX_HEAD_CHARS)
        if found is None or found["name"] not in self._tools.names:
            return False
        self._arguments = JsonObject()
        self._raw, self._num_raw = [found[0]], 0
        self._drop(found.end())
        items.append(self._named(found["name"]))
        return True

    def _read_arguments(self, arguments: JsonObject, items: list[Item]) -> bool:
        # One character more shows that there are too many.
        shown, num_taken = arguments.feed(self._text[: MAX_JSON_CHARS + 1 - self._num_raw])
        self._raw.append(self._text[:num_taken])
        self._num_raw += num_taken
        self._drop(num_taken)
        if shown:
            items.append(ToolCallDelta(id=self._id, index=self._count.begun - 1, arguments=shown))
        if arguments.is_broken or self._num_raw > MAX_JSON_CHARS:
            self._break("", self._text, items)
        elif arguments.is_complete:
            self._arguments = None
            self._sound(items)
            return True
        return False

    def _end(self, items: list[Item]) -> bool:
        """The end tag, if it is there."""
        end = self._form.end
        # Of a longer one it does not matter whether all of it is there yet.
        at = self._text.find(end, self._searched, MAX_PARSED_CHARS + len(end)) if end else -1
        if at >= 0:
            self._read_whole(self._text[:at], end, self._text[at + len(end) :], items)
        elif len(self._text) > MAX_PARSED_CHARS + len(end):
            self._break(self._text[:MAX_PARSED_CHARS], self._text[MAX_PARSED_CHARS:], items)
        else:
            self._searched = max(0, len(self._text) - len(end))
        return False

    def _read_whole(self, text: str, end: str, rest: str, items: list[Item]) -> None:
        """What is left of the block is all there, with its end tag."""
        if self._num_calls and (self._form.head is None or not self._form.head.match(text)):
            # After calls that were read as they came: their brackets, or keys that nobody needs.
            return self._leave(rest)
        calls = self._parsed(text)
        if calls is None or self._count.begun + len(calls) > MAX_TOOL_CALLS:
            return self._break(text + end, rest, items)
        for call in calls:
            self._whole(call, items)
            if self.is_over:
                return None
        return self._leave(rest)

    def _parsed(self, text: str) -> list[ParsedCall] | None:
        tools, left_s = self._tools, MAX_PARSE_S - self._count.parsed_s
        began_s = time.thread_time()
        calls = parse_calls(self._form, text, tools.typed, tools.names, left_s)
        self._count.parsed_s += time.thread_time() - began_s
        return calls

    def _whole(self, call: ParsedCall, items: list[Item]) -> None:
        items.append(self._named(call.name))
        items.append(ToolCallDelta(id=self._id, index=self._count.begun - 1, arguments=call.arguments))
        self._sound(items)

    def _named(self, name: str) -> ToolCallBegin:
        index, self._count.begun = self._count.begun, self._count.begun + 1
        call_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
        return ToolCallBegin(id=self._id, index=index, call_id=call_id, name=name)

    def _sound(self, items: list[Item]) -> None:
        items.append(ToolCallEnd(id=self._id, index=self._count.begun - 1))
        self._count.sound += 1
        self._num_calls += 1
        if not self._tools.parallel:
            self._leave("")

    def _break(self, text: str, rest: str, items: list[Item]) -> None:
        """What came since the last sound call up to *text* is text."""
        if self._arguments is not None:
            items.append(ToolCallEnd(id=self._id, index=self._count.begun - 1, is_broken=True))
        # The start tag was read before.
        start = "" if self._num_calls else self._form.start
        raw = "".join(self._raw) if self._arguments is not None else ""
        if said := start + raw + text:
            items.append(Delta(id=self._id, text=said))
        self.is_broken = True
        self._leave(rest)

    def _leave(self, rest: str) -> None:
        self.is_over, self.rest, self._text = True, rest, ""

    def _drop(self, num_characters: int) -> None:
        self._text, self._searched = self._text[num_characters:], 0


def _definition(tool: Tool, path: str) -> dict[str, object]:
    """As models were taught them."""
    try:
        parameters = json.loads(tool.parameters or '{"type": "object", "properties": {}}')
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise RequestError(f"{path}: expected a JSON Schema, an object", param=path)
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}
