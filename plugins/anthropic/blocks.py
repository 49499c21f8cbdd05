"""What an answer is made of: blocks one after the other, told apart as its items come. Knows no JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, TypeAlias

from plugins.submission import Update
from plugins.wrapped_thoughts import wrapped
from transports.messages import Delta, ReasoningDelta
from transports.tools import ToolCallBegin, ToolCallDelta, ToolCallEnd

DeltaType: TypeAlias = Literal["text_delta", "thinking_delta", "signature_delta", "input_json_delta"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A block begins: text, a thought, or a call."""

    type: Literal["text", "thinking", "tool_use"]
    call: ToolCallBegin | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """More of the block that is open."""

    type: DeltaType
    text: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The block that is open is whole."""


Step: TypeAlias = Opened | Added | Closed


@dataclass(slots=True)
class _Held:
    """A call that is not whole yet."""

    begin: ToolCallBegin
    arguments: list[str] = field(default_factory=list)


class BlockReader:
    """Items of one answer in, steps out.

    Args:
        eager: Names of tools whose input is told as it comes; of others only when the call is whole, as one
            that breaks off was none, and what it said follows as text.
        omits_thoughts: Thoughts are told without their text, which is in the signature.
    """

    def __init__(self, eager: frozenset[str] = frozenset(), *, omits_thoughts: bool = False) -> None:
        self._eager = eager
        self._omits_thoughts = omits_thoughts
        self._open: Opened | None = None
        self._held: dict[int, _Held] = {}
        # Of the thought that is open.
        self._thought: list[str] = []

    def take(self, item: Update) -> Iterator[Step]:
        """What is new."""
        match item:
            case Delta(text=text) if text:
                yield from self._say("text", Added("text_delta", text))
            case ReasoningDelta(text=text):
                self._thought.append(text)
                shown = "" if self._omits_thoughts else text
                yield from self._say("thinking", Added("thinking_delta", shown))
            case ToolCallBegin(name=name) if name in self._eager:
                yield from self.finish()
                self._open = Opened("tool_use", item)
                yield self._open
            case ToolCallBegin():
                self._held[item.index] = _Held(item)
            case ToolCallDelta(index=index) if index in self._held:
                self._held[index].arguments.append(item.arguments)
            case ToolCallDelta():
                yield Added("input_json_delta", item.arguments)
            case ToolCallEnd(index=index) if index in self._held:
                yield from self._tell(self._held.pop(index), is_broken=item.is_broken)
            case ToolCallEnd():
                yield from self.finish()
            case _:
                pass

    def finish(self) -> Iterator[Step]:
        """Close what is open."""
        if self._open is None:
            return
        if self._open.type == "thinking":
            yield Added("signature_delta", self._signature("".join(self._thought)))
            self._thought = []
        self._open = None
        yield Closed()

    def _signature(self, thought: str) -> str:
        if self._omits_thoughts:
            # It comes back with the next turn, and with it what the model needs to go on after a call.
            return wrapped(thought)
        # Nobody checks it here, but there are clients that drop thoughts without one.
        return base64.b64encode(blake2b(thought.encode(), digest_size=24).digest()).decode()

    def _say(self, kind: Literal["text", "thinking"], added: Added) -> Iterator[Step]:
        if self._open is None or self._open.type != kind:
            yield from self.finish()
            self._open = Opened(kind)
            yield self._open
        if added.text:
            yield added

    def _tell(self, held: _Held, *, is_broken: bool) -> Iterator[Step]:
        if is_broken:
            return
        yield from self.finish()
        self._open = Opened("tool_use", held.begin)
        yield self._open
        yield Added("input_json_delta", "".join(held.arguments))
        yield from self.finish()
