"""Runs a command that ends when its parent does: `python -m kernel.tethered COMMAND ARGUMENT…`.

For programs that are not ours, such as uv: the parent holds our stdin open, end of file means that it
is gone, also after SIGKILL, and then the whole process group goes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from transports.tether import die_with_parent


def main(command: list[str]) -> int:
    """Run *command* in our process group, which must be ours alone; its exit status, or 128 + its signal."""
    # Not kill_with_parent too: it would end us before we have ended the others.
    die_with_parent(_kill_group)
    try:
        status = subprocess.call(command, stdin=subprocess.DEVNULL)
    except OSError as e:
        print(f"error: {command[0]}: {e.strerror}", file=sys.stderr)
        return 127
    return status if status >= 0 else 128 - status


def _kill_group() -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
