"""Items of a conversation to turns: what a model said in one go, several items, is one turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plugins.media.picture import Source
from plugins.responses.namespaces import flat_name
from plugins.responses.parts import read_parts
from plugins.responses.requests import Item
from plugins.responses.thoughts import thought_of
from plugins.turns import Turn, check_text
from transports.errors import RequestError
from transports.tools import MAX_TOOL_CALLS, ToolCall

# `ChatRequest.messages`.
MAX_TURNS = 4096
TYPES = ("message", "function_call", "function_call_output", "reasoning")
INSTRUCTING = frozenset({"system", "developer"})


class Placed(NamedTuple):
    """An item, and where it stands in the request, for errors."""

    item: Item
    path: str


def read_items(instructions: str | None, items: Iterable[Placed]) -> list[Turn]:
    """The turns of a conversation; nothing is decoded or fetched for this.

    Instructions and the messages of system and developer that follow them at once are one turn: most chat
    templates know only one, at the beginning.

    Raises:
        RequestError: An item of another type, without what it needs, or in the wrong place; or too much.
    """
    reader = _Reader(instructions)
    for item, path in items:
        reader.read(item, path)
    turns = reader.turns()
    texts = [part for turn in turns for part in turn.parts if isinstance(part, str)]
    check_text([*texts, *reader.other_texts], "input")
    if not 1 <= len(turns) <= MAX_TURNS:
        found = f"{len(turns)} with those before" if turns else "none"
        raise RequestError(f"input: expected 1 to {MAX_TURNS} turns, got {found}", param="input")
    return turns


class _Reader:
    def __init__(self, instructions: str | None) -> None:
        self._instructions = [instructions] if instructions else []
        self._turns: list[Turn] = []
        self._said = _Said()
        self._call_ids: set[str] = set()
        # Besides those in the turns' parts.
        self.other_texts: list[str] = []

    def read(self, item: Item, path: str) -> None:
        match item.type or "message":
            case "message":
                self._message(item, path)
            case "reasoning":
                self._said.thoughts.append(self._counted(thought_of(item)))
            # A call that was cut short is none: what it said follows as text.
            case "function_call" if item.status != "incomplete":
                self._call(item, path)
            case "function_call":
                pass
            case "function_call_output":
                self._result(item, path)
            case "item_reference":
                raise RequestError(
                    f"{path}.id: no item of this id is kept here; send the item itself", param=f"{path}.id"
                )
            case _:
                raise RequestError(
                    f"{path}.type: expected one of {', '.join(TYPES)}, item_reference", param=f"{path}.type"
                )

    def turns(self) -> list[Turn]:
        self._end_said()
        instructions = "\n\n".join(self._instructions)
        first = [Turn(role="system", parts=[instructions])] if instructions else []
        return [*first, *self._turns]

    def _message(self, item: Item, path: str) -> None:
        if item.role is None:
            raise RequestError(f"{path}.role: required, and missing", param=f"{path}.role")
        if item.content is None:
            raise RequestError(f"{path}.content: required, and missing", param=f"{path}.content")
        parts = read_parts(item.content, f"{path}.content")
        if item.role != "user":
            _refuse_pictures(parts, item.role)
        if item.role == "assistant":
            if self._said.is_answered:
                # What was thought since then belongs to this one.
                thoughts = self._said.take_new_thoughts()
                self._end_said()
                self._said.thoughts = thoughts
            self._said.say(part for part in parts if isinstance(part, str))
            return
        self._end_said()
        if item.role in INSTRUCTING and not self._turns:
            self._instructions.append("".join(part for part in parts if isinstance(part, str)))
            return
        self._turns.append(Turn(role=item.role, parts=parts))

    def _call(self, item: Item, path: str) -> None:
        call_id, name = _required(item, path, "call_id"), _required(item, path, "name")
        arguments = self._counted(_required(item, path, "arguments"))
        if len(self._said.calls) == MAX_TOOL_CALLS:
            raise RequestError(f"{path}: expected at most {MAX_TOOL_CALLS} calls in a row", param=path)
        self._call_ids.add(call_id)
        flat = flat_name(name, item.namespace, path)
        self._said.calls.append(ToolCall(id=call_id, name=flat, arguments=arguments))

    def _result(self, item: Item, path: str) -> None:
        call_id = _required(item, path, "call_id")
        if item.output is None:
            raise RequestError(f"{path}.output: required, and missing", param=f"{path}.output")
        if call_id not in self._call_ids:
            raise RequestError(
                f"{path}.call_id: expected that of a function_call before it; send that item too, or "
                "previous_response_id",
                param=f"{path}.call_id",
            )
        self._end_said()
        parts = read_parts(item.output, f"{path}.output")
        self._turns.append(Turn(role="tool", parts=parts, tool_call_id=call_id))

    def _end_said(self) -> None:
        if self._said.is_something:
            self._turns.append(self._said.turn())
        self._said = _Said()

    def _counted(self, text: str) -> str:
        self.other_texts.append(text)
        return text


class _Said:
    """What the assistant said in one go."""

    def __init__(self) -> None:
        self.thoughts: list[str] = []
        self.texts: list[str] = []
        self.calls: list[ToolCall] = []
        self.has_message = False
        self._num_thoughts = 0

    def say(self, texts: Iterable[str]) -> None:
        """Add a message."""
        self.texts += texts
        self.has_message = True
        self._num_thoughts = len(self.thoughts)

    def take_new_thoughts(self) -> list[str]:
        """Take those away that came after the message."""
        self.thoughts, new = self.thoughts[: self._num_thoughts], self.thoughts[self._num_thoughts :]
        return new

    @property
    def is_something(self) -> bool:
        return bool(self.thoughts or self.calls or self.has_message)

    @property
    def is_answered(self) -> bool:
        """Whether another message is another turn."""
        return self.has_message and not self.calls

    def turn(self) -> Turn:
        return Turn(
            role="assistant",
            parts=["".join(self.texts)],
            tool_calls=tuple(self.calls),
            reasoning="\n".join(filter(None, self.thoughts)),
        )


def _refuse_pictures(parts: Sequence[str | Source], role: str) -> None:
    for part in parts:
        if isinstance(part, Source):
            raise RequestError(
                f"{part.path}: expected pictures in messages of the role user and in results, got {role}",
                param=part.path,
            )


def _required(item: Item, path: str, name: str) -> str:
    value: str | None = getattr(item, name)
    if value is None:
        raise RequestError(f"{path}.{name}: required, and missing", param=f"{path}.{name}")
    return value
