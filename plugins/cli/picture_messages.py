"""A turn with pictures: which come before its text, as most models were trained."""

from __future__ import annotations

import msgspec

from transports.messages import ChatMessage, ChatRequest, ImagePart, TextPart


def user_message(text: str, images: range) -> ChatMessage:
    """A question about some of a request's images, or about none."""
    if not images:
        return ChatMessage(role="user", content=text)
    return ChatMessage(role="user", content=(*(ImagePart(image=i) for i in images), TextPart(text=text)))


def about(request: ChatRequest, num_images: int) -> ChatRequest:
    """A request whose last message is about so many images, and the only one that is."""
    *before, question = request.messages
    asked = user_message(question.text, range(num_images))
    return msgspec.structs.replace(request, messages=(*before, asked))
