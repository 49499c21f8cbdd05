"""How much time and room a chat template gets. Knows no jinja.

A template comes with a model: it is foreign code, and runs in the engine's thread.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A long conversation takes milliseconds.
MAX_RENDER_S = 2.0
# Of what a template makes, beyond a few times what it is given.
MAX_RENDER_CHARS = 4 * 1024 * 1024
_CHARS_PER_CHAR = 4
# An exception may get lost in code that swallows it: it is raised again and again.
_AGAIN_S = 0.05


class TemplateLimit(Exception):
    """A template wants more than it gets; the message says of what."""


class _Limits:
    """Of the rendering that is under way."""

    max_chars = MAX_RENDER_CHARS
    deadline = 0.0


@contextmanager
def limited(num_chars: int) -> Iterator[None]:
    """Within, a template gets `MAX_RENDER_S`, and `check_size` knows how much it may make.

    Args:
        num_chars: What it is given.
    """
    _Limits.max_chars = MAX_RENDER_CHARS + _CHARS_PER_CHAR * num_chars
    if threading.current_thread() is not threading.main_thread():
        # Without a signal there is no deadline; a worker's engine runs in the main thread.
        yield
        return
    _Limits.deadline = time.monotonic() + MAX_RENDER_S
    before = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, MAX_RENDER_S, _AGAIN_S)
    try:
        yield
    finally:
        # A signal that is on its way finds no deadline.
        _Limits.deadline = 0.0
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def check_size(num_items: int) -> None:
    """Refuse a text or list of so many characters or items.

    Raises:
        TemplateLimit: They are too many.
    """
    if num_items > _Limits.max_chars:
        raise TemplateLimit(f"it makes more than {_Limits.max_chars} characters")


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    if _Limits.deadline and time.monotonic() >= _Limits.deadline:
        raise TemplateLimit(f"it takes more than {MAX_RENDER_S:g} s")
