"""One answer, gathered from its items."""

from __future__ import annotations

from plugins.openai.logprobs import num_bytes
from plugins.submission import Update
from transports.messages import Delta, Done, ReasoningDelta, TokenLogprob
from transports.tools import ToolCall, ToolCallBegin, ToolCallDelta, ToolCallEnd


class Answer:
    """What one choice has said so far."""

    def __init__(self) -> None:
        self.logprobs: list[TokenLogprob] = []
        # About as many as they have in the answer.
        self.num_bytes = 0
        self.end: Done | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._begun: dict[int, ToolCallBegin] = {}
        self._arguments: dict[int, list[str]] = {}

    def take(self, item: Update) -> None:
        """Add what is new."""
        match item:
            case Delta():
                self._text.append(item.text)
                self.logprobs += item.logprobs
                self.num_bytes += num_bytes([item])
            case ReasoningDelta():
                self._reasoning.append(item.text)
            case ToolCallBegin():
                self._begun[item.index] = item
                self._arguments[item.index] = []
            case ToolCallDelta():
                self._arguments[item.index].append(item.arguments)
            case ToolCallEnd(is_broken=True):
                del self._begun[item.index]
            case Done():
                self.end = item
            case _:
                pass

    @property
    def text(self) -> str:
        """The answer itself."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """What was thought before it."""
        return "".join(self._reasoning)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls that are whole."""
        return [
            ToolCall(id=begin.call_id, name=begin.name, arguments="".join(self._arguments[index]))
            for index, begin in self._begun.items()
        ]
