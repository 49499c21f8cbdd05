"""Chat messages with pictures to prompt tokens, with a gap for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transports.errors import MlxdError, RequestError
from transports.messages import ChatMessage, ImagePart, TextPart
from workers.generation.prompts import Borders, Prompts
from workers.generation.template_turns import NO_BEGINNING, NO_FIELDS, Beginning, Fields

# Any: a tokenizer of transformers behind mlx-lm's wrapper; neither has types.
Tokenizer = Any

# Tokens of text, or which of the request's images stands here.
Piece = list[int] | int

_WORD = "Hello"
_IMAGE = {"type": "image"}


class VisionPrompts(Prompts):
    """Uses the chat template and tokenizer of one model.

    Args:
        placeholders: What may stand for a picture in a rendered prompt, likeliest first.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocab_size: int,
        context_length: int,
        placeholders: Sequence[str],
        borders: Borders | None = None,
    ) -> None:
        super().__init__(tokenizer, vocab_size, context_length, borders)
        # Typed by a user they are text, whether the tokenizer calls them special or not.
        self._special = sorted({*self._special, *placeholders}, key=len, reverse=True)
        self._takes_text = _WORD in self._tried(_WORD)
        shown = self._tried([_IMAGE, {"type": "text", "text": _WORD}])
        found = [one for one in placeholders if one in shown] if _WORD in shown else []
        # A template that knows no parts gets the placeholder within the text.
        self._takes_parts = bool(found)
        self.placeholder = (found or [*placeholders])[0]

    def chat(
        self,
        messages: Sequence[ChatMessage],
        fields: Fields = NO_FIELDS,
        beginning: Beginning = NO_BEGINNING,
    ) -> list[int]:
        """See `Prompts.chat`; without the pictures."""
        pieces = self.pieces(messages, fields, beginning)
        return [token for piece in pieces if isinstance(piece, list) for token in piece]

    def pieces(
        self,
        messages: Sequence[ChatMessage],
        fields: Fields = NO_FIELDS,
        beginning: Beginning = NO_BEGINNING,
    ) -> list[Piece]:
        """Text and pictures of the rendered conversation in turn; begins and ends with text.

        Raises:
            MlxdError: As `Prompts.chat`; and the template does not show every picture.
        """
        images = [
            part.image for message in messages for part in _parts(message) if isinstance(part, ImagePart)
        ]
        text = beginning.after(self._render(self._turns(messages), fields), self._plain)
        self._refuse_too_long(text, "messages")
        texts = text.split(self.placeholder) if images else [text]
        if len(texts) != len(images) + 1:
            raise RequestError(
                f"messages: the model's chat template has places for {len(texts) - 1} pictures, "
                f"got {len(images)}",
                param="messages",
            )
        pieces: list[Piece] = [self._tokens(texts[0])]
        for image, after in zip(images, texts[1:], strict=True):
            pieces += [image, self._tokens(after)]
        if pieces == [[]]:
            raise RequestError("messages: the model's chat template makes an empty prompt", param="messages")
        return pieces

    def _content(self, message: ChatMessage) -> object:
        if isinstance(message.content, str) and self._takes_text:
            return self._plain(message.content)
        if not self._takes_parts:
            shown = [
                self._plain(p.text) if isinstance(p, TextPart) else self.placeholder for p in _parts(message)
            ]
            return "\n".join(shown)
        return [
            {"type": "text", "text": self._plain(part.text)} if isinstance(part, TextPart) else _IMAGE
            for part in _parts(message)
        ]

    def _tried(self, content: object) -> str:
        """A conversation of one turn, or "" if the template does not take it."""
        try:
            return self._render([{"role": "user", "content": content}])
        except MlxdError:
            return ""


def _parts(message: ChatMessage) -> Sequence[TextPart | ImagePart]:
    return (TextPart(text=message.content),) if isinstance(message.content, str) else message.content
