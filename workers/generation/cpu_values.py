"""Values that numpy goes on with in the middle of a step, on a Linux CPU, and how often there were some.

A step that reads a part of a prompt takes seconds there, and minutes where other processes have the
processor; these show that it goes on, layer by layer.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any


class _Waits:
    """Of this process."""

    num = 0


def have_values(*arrays: Array) -> bool:
    """Wait for them; False if they are traced by mx.compile, and have none."""
    try:
        mx.eval(*arrays)
    except ValueError:
        return False
    # Of two threads at once one may be lost: it grows all the same.
    _Waits.num += 1
    return True


def num_waits() -> int:
    """How often this process had values in the middle of a step; a part of `Engine.progress`."""
    return _Waits.num
