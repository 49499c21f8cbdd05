"""Memory that the C library keeps after it was freed, for the next time.

Loading a model makes much that is needed only once: tens of megabytes that nobody would use again.
"""

from __future__ import annotations

import ctypes


def give_back_freed() -> None:
    """Give it to the system; nothing happens where the C library has no such call, which is glibc's."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
