"""What the system writes of a process that crashes: nothing, as it would hold prompts."""

from __future__ import annotations

import resource


def forbid_dumps() -> None:
    """No core dump of this process, nor of those that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
