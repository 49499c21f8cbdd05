"""What a model thought, as an opaque text for clients that show none and pass it on as it is."""

from __future__ import annotations

import pybase64

# Of what is ours: other servers' cannot be read here.
_MARK = "mlxd."


def wrapped(thought: str) -> str:
    """A text that holds *thought*. No secret: whoever gets it could have asked for the thought."""
    return _MARK + pybase64.b64encode(thought.encode()).decode()


def unwrapped(text: str) -> str:
    """The thought that *text* holds; "" where it is not ours."""
    if not text.startswith(_MARK):
        return ""
    try:
        return pybase64.b64decode(text[len(_MARK) :], validate=True).decode()
    except ValueError:
        return ""
