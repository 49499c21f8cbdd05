"""The turns of a chat, their words and pictures told apart, as the APIs that frontends speak make them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from plugins.media.picture import Source
from transports.errors import RequestError
from transports.messages import ChatMessage, ImagePart, TextPart
from transports.tools import ToolCall

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]

# All text of a request: twice what the longest contexts hold. More would only be copied and hashed, in one
# go, in which nobody else is answered.
MAX_TEXT_CHARS = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message whose parts are told apart: words are strings."""

    role: Role
    parts: Sequence[str | Source]
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str = ""

    def with_pictures(self, images: Sequence[Sequence[int]]) -> ChatMessage:
        """The turn for a worker.

        Args:
            images: For each of its sources the images that came of it.
        """
        left = iter(images)
        parts: list[TextPart | ImagePart] = []
        for part in self.parts:
            if isinstance(part, str):
                parts.append(TextPart(text=part))
            else:
                parts += [ImagePart(image=image) for image in next(left)]
        has_pictures = any(isinstance(part, ImagePart) for part in parts)
        text = "".join(part for part in self.parts if isinstance(part, str))
        return ChatMessage(
            role=self.role,
            content=tuple(parts) if has_pictures else text,
            name=self.name,
            tool_calls=self.tool_calls,
            tool_call_id=self.tool_call_id,
            reasoning=self.reasoning,
        )

    @property
    def sources(self) -> list[Source]:
        """Its pictures and documents."""
        return [part for part in self.parts if isinstance(part, Source)]


def chat_messages(turns: Sequence[Turn], num_pictures: Sequence[int]) -> tuple[ChatMessage, ...]:
    """The turns for a worker.

    Args:
        turns: Of one request.
        num_pictures: How many came of each of its sources: a document has one for each page.
    """
    messages: list[ChatMessage] = []
    num_sources = num_images = 0
    for turn in turns:
        images: list[range] = []
        for _ in turn.sources:
            images.append(range(num_images, num_images + num_pictures[num_sources]))
            num_images += num_pictures[num_sources]
            num_sources += 1
        messages.append(turn.with_pictures(images))
    return tuple(messages)


def check_texts_of(turns: Sequence[Turn]) -> None:
    """As `check_text`, of all that is said in words."""
    check_text((part for turn in turns for part in turn.parts if isinstance(part, str)), "messages")


def check_text(texts: Iterable[str], param: str) -> None:
    """Refuse more text than any model could read.

    Raises:
        RequestError: It is.
    """
    num_chars = sum(map(len, texts))
    if num_chars > MAX_TEXT_CHARS:
        raise RequestError(
            f"{param}: expected at most {MAX_TEXT_CHARS} characters of text, got {num_chars}", param=param
        )
