"""What a model thought, as items carry it: content, summary, or opaque for clients that pass on only that."""

from __future__ import annotations

from plugins.responses.parts import text_of
from plugins.responses.requests import Item
from plugins.wrapped_thoughts import unwrapped


def thought_of(item: Item) -> str:
    """The thought of an item of type reasoning; "" where it is only in another server's hands."""
    return text_of(item.content) or text_of(item.summary) or unwrapped(item.encrypted_content or "")
