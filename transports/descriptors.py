"""How many files and sockets this process may have open."""

from __future__ import annotations

import resource


def allow_descriptors(wanted: int) -> None:
    """Raise our limit to *wanted*, as far as the system lets us; macOS begins with 256, Linux with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return
    # macOS refuses more than kern.maxfilesperproc although it calls the hard limit infinite.
    while most > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            most //= 2
        else:
            return
