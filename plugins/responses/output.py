"""What a response says, item by item, and the events that tell of it as it comes."""

from __future__ import annotations

from typing import NamedTuple

from plugins.openai.logprobs import chat_logprobs
from plugins.responses.events import ResponseEvent
from plugins.responses.namespaces import Called, Namespaces
from plugins.responses.open_items import OpenCall, OpenItem, OpenMessage, OpenSummary, OpenThought
from plugins.responses.requests import Status
from plugins.responses.shapes import OutputItem
from plugins.submission import Update
from transports.messages import Delta, ReasoningDelta
from transports.tools import ToolCallBegin, ToolCallDelta, ToolCallEnd


class Style(NamedTuple):
    """How thoughts are written."""

    # As the item's summary, not its content.
    is_summary: bool = False
    # Also in `encrypted_content`.
    is_wrapped: bool = False


class Output:
    """Gathers what an answer says. An item ends when one of another kind begins.

    Args:
        style: How thoughts are written.
        namespaces: Which functions are in one.
    """

    def __init__(self, style: Style, namespaces: Namespaces) -> None:
        self.items: list[OutputItem] = []
        self._style = style
        self._namespaces = namespaces
        self._open: OpenItem | None = None
        self._num_begun = 0

    def take(self, update: Update) -> list[ResponseEvent]:
        """Add what is new.

        Returns:
            The events that say so.
        """
        match update, self._open:
            case ReasoningDelta(text=text), OpenThought() as thought if text:
                return thought.add(text)
            case ReasoningDelta(text=text), _ if text:
                kind = OpenSummary if self._style.is_summary else OpenThought
                thought = kind(self._num_begun, is_wrapped=self._style.is_wrapped)
                return [*self._begin(thought), *thought.add(text)]
            case Delta(), OpenMessage() as message if update.text or update.logprobs:
                return message.add(update.text, chat_logprobs(update.logprobs)["content"])
            case Delta(), _ if update.text or update.logprobs:
                message = OpenMessage(self._num_begun)
                begun = self._begin(message)
                return [*begun, *message.add(update.text, chat_logprobs(update.logprobs)["content"])]
            case ToolCallBegin(name=name), _:
                called = self._namespaces.get(name, Called(name))
                return self._begin(OpenCall(self._num_begun, update.call_id, called))
            case ToolCallDelta(), OpenCall() as call:
                return call.add(update.arguments)
            case ToolCallEnd(), OpenCall():
                # A broken one was no call. Its item cannot be taken back; the response does not have it.
                return self._end(
                    "incomplete" if update.is_broken else "completed", is_kept=not update.is_broken
                )
        return []

    def end(self, *, is_cut: bool) -> list[ResponseEvent]:
        """The answer is over; one that says nothing has an empty message."""
        is_empty = not self.items and self._open is None
        begun = self._begin(OpenMessage(self._num_begun)) if is_empty else []
        return [*begun, *self._end("incomplete" if is_cut else "completed")]

    def _begin(self, item: OpenItem) -> list[ResponseEvent]:
        ended = self._end("completed")
        self._open = item
        self._num_begun += 1
        return [*ended, *item.begin()]

    def _end(self, status: Status, *, is_kept: bool = True) -> list[ResponseEvent]:
        item, self._open = self._open, None
        if item is None:
            return []
        if is_kept:
            self.items.append(item.item(status))
        return item.end(status)
