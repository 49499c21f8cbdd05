"""How a command ends: one place that turns what went wrong into a line on stderr and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable

import click

from plugins.cli.interrupts import INTERRUPTED

# An error that is neither of the two below.
FAILED = 1
# click's own code for wrong usage; wrong settings too.
USAGE = 2
# LSB, and so systemctl: "program is not running".
NOT_RUNNING = 3
# sysexits.h EX_SOFTWARE.
BUG = 70


def guarded(command: Callable[[], object], *, is_debug: Callable[[], bool]) -> int:
    """Run *command* and return the exit code; what it raises becomes one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal's encoding does not have becomes "?" instead of an error.
        sys.stdout.reconfigure(errors="replace")
    try:
        result = command()
        if sys.stdout is not None:  # Closed by whoever started us.
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 -- the outermost frame: nobody else can.
        if is_debug():
            traceback.print_exc()
        return _explain(error)
    return result if isinstance(result, int) else 0


def _explain(error: BaseException) -> int:
    # Imported when something is wrong, not at each start.
    from plugins.cli.sanitize import clean_line  # noqa: PLC0415
    from transports.errors import ConfigError, MlxdError  # noqa: PLC0415

    match error:
        case click.ClickException():
            error.show()
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            # `| head` has seen enough. Silent, with the code that click has for it.
            return FAILED
        case MlxdError():
            complain(clean_line(error.message))
            return USAGE if isinstance(error, ConfigError) else FAILED
        case SystemExit(code=int() as code):
            return code
        case OSError(filename=str() | bytes() as filename, strerror=str() as reason):
            complain(clean_line(f"{os.fsdecode(filename)}: {reason}"))
            return FAILED
        case _:
            complain(
                f"a bug in mlxd: {type(error).__name__}: {clean_line(str(error))} "
                "(`mlxd --debug ...` shows where)"
            )
            return BUG


def complain(line: str) -> None:
    """One line of error on stderr."""
    click.echo(f"Error: {line}", err=True)
