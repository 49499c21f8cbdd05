"""The entry point of the program `mlxd`: its outermost frame."""

# Nothing that must be read first: until `main` runs, Python itself says where Ctrl-C found it.
import sys


def main() -> None:
    """Run the command line, and exit with its code."""
    try:
        # Imported here: a Ctrl-C while it loads shall end as quietly as a later one.
        from plugins.cli.interrupts import ending_at_once  # noqa: PLC0415

        with ending_at_once():
            from plugins.cli.commands import cli  # noqa: PLC0415
            from plugins.cli.exits import guarded  # noqa: PLC0415
            from transports.dumps import forbid_dumps  # noqa: PLC0415

            forbid_dumps()
        code = guarded(
            lambda: cli.main(prog_name="mlxd", standalone_mode=False),
            is_debug=lambda: "--debug" in sys.argv[1:2],
        )
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
