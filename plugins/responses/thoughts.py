"""What a model thought, as items carry it: content, summary, or opaque for clients that pass on only that."""

from __future__ import annotations

import pybase64

from plugins.responses.parts import text_of
from plugins.responses.requests import Item

# Of what is ours: other servers' cannot be read here.
_MARK = "mlxd."


def thought_of(item: Item) -> str:
    """The thought of an item of type reasoning; "" where it is only in another server's hands."""
    return text_of(item.content) or text_of(item.summary) or _opened(item.encrypted_content or "")


def wrapped(thought: str) -> str:
    """`encrypted_content`: text that clients pass on as it is. No secret, as `content` is none either."""
    return _MARK + pybase64.b64encode(thought.encode()).decode()


def _opened(content: str) -> str:
    if not content.startswith(_MARK):
        return ""
    try:
        return pybase64.b64decode(content[len(_MARK) :], validate=True).decode()
    except ValueError:
        return ""
