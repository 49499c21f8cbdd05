"""What a model writes, told apart as it comes: thought, calls of tools, answer. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from transports.messages import Delta, FinishReason, Item, ReasoningDelta, TokenLogprob
from workers.generation.stop_strings import num_to_hold
from workers.generation.tool_calls import CallCount, CallReader, Tools
from workers.generation.tool_formats import CallFormat

# White space before a tag is no part of the answer, up to so much, which is waited for.
_MAX_SPACE = 256


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What stands around thoughts and calls in a model's answers; "" and None where it knows none."""

    think_start: str = ""
    think_end: str = ""
    calls: CallFormat | None = None


# Nothing but text.
PLAIN = AnswerFormat()


class AnswerReader:
    """Text of one answer in, items out; what may become a tag is held back, and no more.

    The items do not depend on how the text is cut into pieces.
    """

    def __init__(
        self,
        request_id: str,
        form: AnswerFormat,
        tools: Tools | None,
        *,
        is_thinking: bool = False,
        calls_first: bool = False,
    ) -> None:
        """Nothing was said yet.

        Args:
            tools: None: what looks like a call is text.
            is_thinking: The prompt ends with the tag that begins a thought.
            calls_first: What looks like a call after text is text.
        """
        self.is_thinking = is_thinking
        # Of the texts that were fed, those that began or ended within a thought: its tokens.
        self.num_thought = 0
        self._id = request_id
        self._form = form
        self._tools = tools if form.calls else None
        self._calls_first = calls_first
        self._count = CallCount()
        self._calls: CallReader | None = None
        self._held = ""
        # Whether something else than white space was said.
        self._has_begun = is_thinking
        # The same of the answer itself.
        self._has_answered = False
        # A thought has ended, and nothing was said since.
        self._has_just_thought = False
        # Tags are followed by white space that is no part of what follows.
        self._strips = is_thinking

    @property
    def is_calling(self) -> bool:
        """Whether what comes now belongs to a call."""
        return self._calls is not None

    @property
    def has_called(self) -> bool:
        """Whether the answer has a call that is whole."""
        return self._count.sound > 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is wanted: a call was made, and there may be only one."""
        return self.has_called and self._tools is not None and not self._tools.parallel

    def reason(self, reason: FinishReason) -> FinishReason:
        """Why the answer ended, when the model stopped for *reason*."""
        return "tool_calls" if reason == "stop" and self.has_called else reason

    def shows(self, special: str) -> bool:
        """Whether a special token of this name, which is no text otherwise, is to be fed."""
        calls = self._form.calls
        tags = (self._form.think_start, self._form.think_end, calls.start if calls and self._tools else "")
        return self.is_calling or any(special in tag for tag in tags)

    def feed(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> list[Item]:
        """Take the text of a token; what can be said now.

        Args:
            logprobs: Of the token; passed on if it belongs to the answer itself.
        """
        was_thinking, was_answering = self.is_thinking, self._is_answering
        items = self._take(text)
        self.num_thought += was_thinking or self.is_thinking
        if logprobs and was_answering and self._is_answering:
            last = items.pop() if items and isinstance(items[-1], Delta) else Delta(id=self._id)
            items.append(msgspec.structs.replace(last, logprobs=tuple(logprobs)))
        return items

    def finish(self, text: str = "", *, is_whole: bool) -> list[Item]:
        """What was held back.

        Args:
            text: What was held back before it could be fed.
            is_whole: The model itself ended its answer.
        """
        items = self._take(text)
        if self._calls is not None:
            items += self._calls.finish(is_whole=is_whole)
            self._calls = None
        elif not self.is_complete and (held := self._stripped(self._held)):
            items.append(self._said(held))
        self._held = ""
        return items

    def _take(self, text: str) -> list[Item]:
        self._held += text
        items: list[Item] = []
        while self._held and not self.is_complete and self._read(items):
            pass
        return items

    @property
    def _is_answering(self) -> bool:
        return not self.is_thinking and self._calls is None

    def _read(self, items: list[Item]) -> bool:
        """One step; whether another may follow."""
        if self._calls is not None:
            return self._read_calls(self._calls, items)
        text = self._held = self._stripped(self._held)
        tags = self._tags()
        places = [
            (at, tag) for tag in tags if (at := text.find(tag)) >= 0 and self._may_stand(tag, text[:at])
        ]
        if places:
            at, tag = min(places)
            if before := text[: _solid(text, at)]:
                items.append(self._said(before))
            self._held = text[at + len(tag) :]
            self._pass(tag)
            return True
        shown = len(text) - num_to_hold(text, tags)
        if tags:
            shown = _solid(text, shown)
        self._held = text[shown:]
        if shown:
            items.append(self._said(text[:shown]))
        return False

    def _read_calls(self, calls: CallReader, items: list[Item]) -> bool:
        text, self._held = self._held, ""
        items += calls.feed(text)
        if not calls.is_over:
            return False
        self._calls, self._held = None, calls.rest
        self._strips = not calls.is_broken
        self._has_begun = True
        return True

    def _tags(self) -> list[str]:
        """Those that may come next."""
        if self.is_thinking:
            return [self._form.think_end]
        tags = []
        if self._form.think_start and not self._has_begun:
            tags.append(self._form.think_start)
        if self._form.think_end and self._has_just_thought:
            # Where it was forced just when the model wrote it.
            tags.append(self._form.think_end)
        may_call = not (self._calls_first and self._has_answered)
        if self._tools is not None and self._form.calls is not None and may_call and not self._count.is_full:
            tags.append(self._form.calls.start)
        return tags

    def _may_stand(self, tag: str, before: str) -> bool:
        """Whether a tag is one there: thoughts begin answers, and are no part of them."""
        is_anywhere = tag not in (self._form.think_start, self._form.think_end) and not self._calls_first
        return self.is_thinking or is_anywhere or not before.strip()

    def _pass(self, tag: str) -> None:
        """What follows is of another kind."""
        self._strips = True
        if self.is_thinking or tag == self._form.think_start:
            self._has_just_thought = self.is_thinking
            self.is_thinking = not self.is_thinking
            self._has_begun = True
        elif tag == self._form.think_end:
            self._has_just_thought = False
        elif self._form.calls is not None and self._tools is not None:
            self._calls = CallReader(self._id, self._form.calls, self._tools, self._count)

    def _stripped(self, text: str) -> str:
        return text.lstrip() if self._strips else text

    def _said(self, text: str) -> Item:
        self._strips = False
        self._has_just_thought = False
        if self.is_thinking:
            return ReasoningDelta(id=self._id, text=text)
        self._has_begun = self._has_begun or not text.isspace()
        self._has_answered = self._has_answered or not text.isspace()
        return Delta(id=self._id, text=text)


def _solid(text: str, end: int) -> int:
    """Where white space begins that may belong to a tag at *end*."""
    return max(len(text[:end].rstrip()), end - _MAX_SPACE)
