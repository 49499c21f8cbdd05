"""An item of a response while it is written: the events of its life, and what it is in the end."""

from __future__ import annotations

from abc import ABC, abstractmethod

from msgspec import UNSET

from plugins.openai.logprobs import ChatToken
from plugins.responses.events import (
    ArgumentsDelta,
    ArgumentsDone,
    ItemAdded,
    ItemDone,
    OutputTextDelta,
    OutputTextDone,
    PartAdded,
    PartDone,
    ReasoningTextDelta,
    ReasoningTextDone,
    ResponseEvent,
    SummaryPartAdded,
    SummaryPartDone,
    SummaryTextDelta,
    SummaryTextDone,
)
from plugins.responses.listed import new_id
from plugins.responses.namespaces import Called
from plugins.responses.requests import Status
from plugins.responses.shapes import (
    CallItem,
    MessageItem,
    OutputItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    SummaryText,
)
from plugins.wrapped_thoughts import wrapped


class OpenItem(ABC):
    """What all kinds share: they are added, get more, and are done.

    Args:
        id_: Of the item.
        index: Its place in the response.
    """

    def __init__(self, id_: str, index: int) -> None:
        self.id = id_
        self._index = index
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """What it says so far."""
        return "".join(self._texts)

    @abstractmethod
    def begin(self) -> list[ResponseEvent]:
        """It is there, and empty."""

    @abstractmethod
    def end(self, status: Status) -> list[ResponseEvent]:
        """It is over."""

    @abstractmethod
    def item(self, status: Status) -> OutputItem:
        """What it is now."""

    def _added(self, item: OutputItem) -> ResponseEvent:
        return ItemAdded(output_index=self._index, item=item)

    def _done(self, status: Status) -> ResponseEvent:
        return ItemDone(output_index=self._index, item=self.item(status))


class OpenMessage(OpenItem):
    """A message of the assistant."""

    def __init__(self, index: int) -> None:
        super().__init__(new_id("msg"), index)
        self._logprobs: list[ChatToken] = []

    def begin(self) -> list[ResponseEvent]:
        empty = MessageItem(id=self.id, status="in_progress", role="assistant", content=[])
        return [self._added(empty), PartAdded(item_id=self.id, output_index=self._index, part=self._part())]

    def add(self, text: str, logprobs: list[ChatToken]) -> list[ResponseEvent]:
        """More of it."""
        self._texts.append(text)
        self._logprobs += logprobs
        return [OutputTextDelta(item_id=self.id, output_index=self._index, delta=text, logprobs=logprobs)]

    def end(self, status: Status) -> list[ResponseEvent]:
        return [
            OutputTextDone(
                item_id=self.id, output_index=self._index, text=self.text, logprobs=self._logprobs
            ),
            PartDone(item_id=self.id, output_index=self._index, part=self._part()),
            self._done(status),
        ]

    def item(self, status: Status) -> OutputItem:
        return MessageItem(id=self.id, status=status, role="assistant", content=[self._part()])

    def _part(self) -> OutputText:
        return OutputText(text=self.text, logprobs=list(self._logprobs))


class OpenThought(OpenItem):
    """What the model thinks.

    Args:
        index: Its place in the response.
        is_wrapped: It is also in `encrypted_content`.
    """

    def __init__(self, index: int, *, is_wrapped: bool) -> None:
        super().__init__(new_id("rs"), index)
        self._is_wrapped = is_wrapped

    def begin(self) -> list[ResponseEvent]:
        part = ReasoningText(text="")
        return [self._empty(), PartAdded(item_id=self.id, output_index=self._index, part=part)]

    def add(self, text: str) -> list[ResponseEvent]:
        """More of it."""
        self._texts.append(text)
        return [ReasoningTextDelta(item_id=self.id, output_index=self._index, delta=text)]

    def end(self, status: Status) -> list[ResponseEvent]:
        return [
            ReasoningTextDone(item_id=self.id, output_index=self._index, text=self.text),
            PartDone(item_id=self.id, output_index=self._index, part=ReasoningText(text=self.text)),
            self._done(status),
        ]

    def item(self, status: Status) -> OutputItem:
        return self._item(status, content=[ReasoningText(text=self.text)])

    def _empty(self) -> ResponseEvent:
        return self._added(ReasoningItem(id=self.id, status="in_progress", summary=[], content=[]))

    def _item(
        self,
        status: Status,
        *,
        content: list[ReasoningText] | None = None,
        summary: list[SummaryText] | None = None,
    ) -> ReasoningItem:
        return ReasoningItem(
            id=self.id,
            status=status,
            summary=summary or [],
            content=content or [],
            encrypted_content=wrapped(self.text) if self._is_wrapped else UNSET,
        )


class OpenSummary(OpenThought):
    """The same where a summary is asked for: no model here sums up, so it is all of the thought."""

    def begin(self) -> list[ResponseEvent]:
        part = SummaryText(text="")
        return [self._empty(), SummaryPartAdded(item_id=self.id, output_index=self._index, part=part)]

    def add(self, text: str) -> list[ResponseEvent]:
        self._texts.append(text)
        return [SummaryTextDelta(item_id=self.id, output_index=self._index, delta=text)]

    def end(self, status: Status) -> list[ResponseEvent]:
        return [
            SummaryTextDone(item_id=self.id, output_index=self._index, text=self.text),
            SummaryPartDone(item_id=self.id, output_index=self._index, part=SummaryText(text=self.text)),
            self._done(status),
        ]

    def item(self, status: Status) -> OutputItem:
        return self._item(status, summary=[SummaryText(text=self.text)])


class OpenCall(OpenItem):
    """A call that the model wants made.

    Args:
        index: Its place in the response.
        call_id: Of the call.
        called: The function.
    """

    def __init__(self, index: int, call_id: str, called: Called) -> None:
        super().__init__(new_id("fc"), index)
        self._call_id = call_id
        self._called = called

    def begin(self) -> list[ResponseEvent]:
        return [self._added(self.item("in_progress"))]

    def add(self, arguments: str) -> list[ResponseEvent]:
        """More of its arguments."""
        self._texts.append(arguments)
        return [ArgumentsDelta(item_id=self.id, output_index=self._index, delta=arguments)]

    def end(self, status: Status) -> list[ResponseEvent]:
        name = self._called.name
        done = ArgumentsDone(item_id=self.id, output_index=self._index, name=name, arguments=self.text)
        return [done, self._done(status)]

    def item(self, status: Status) -> OutputItem:
        return CallItem(
            id=self.id,
            status=status,
            call_id=self._call_id,
            name=self._called.name,
            arguments=self.text,
            namespace=self._called.namespace,
        )
