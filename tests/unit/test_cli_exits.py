"""Every end of a command is an exit code and at most one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from plugins.cli.exits import guarded
from transports.errors import ConfigError, ModelNotFound


def end(command: Callable[[], object], *, is_debug: bool = False) -> int:
    return guarded(command, is_debug=lambda: is_debug)


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> object:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("x.toml: http.port: wrong"), 2, "Error: x.toml: http.port: wrong\n"),
        (ModelNotFound("a\nb\x1b[31m: no such model"), 1, "Error: a b: no such model\n"),
        (click.UsageError("no prompt"), 2, "Error: no prompt\n"),
        (click.Abort(), 130, ""),
        (KeyboardInterrupt(), 130, ""),
        (
            FileNotFoundError(2, "No such file or directory", "/a"),
            1,
            "Error: /a: No such file or directory\n",
        ),
        (ValueError("oops"), 70, "Error: a bug in mlxd: ValueError: oops (`mlxd --debug ...` shows where)\n"),
        (SystemExit(5), 5, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code == end(raising(error))

    assert capsys.readouterr().err == line


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    end(raising(ValueError("oops")), is_debug=True)

    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_command_s_own_code_is_kept() -> None:
    assert end(lambda: 3) == 3
    assert end(lambda: None) == 0


def test_a_closed_pipe_is_silent() -> None:
    """Whoever reads is gone before the command writes."""
    code = (
        "import sys; from plugins.cli.exits import guarded\n"
        "def write(): sys.stdin.read(); print('x')\n"
        "sys.exit(guarded(write, is_debug=lambda: False))"
    )

    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        assert writer.stderr
        writer.stdout.close()
        writer.stdin.close()
        error = writer.stderr.read()

    assert (error, writer.returncode) == (b"", 1)


def test_a_character_that_the_terminal_lacks_becomes_a_question_mark() -> None:
    code = "from plugins.cli.exits import guarded; guarded(lambda: print('a漢'), is_debug=lambda: False)"

    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=True
    )

    assert done.stdout == b"a?\n"


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; sys.argv = ['mlxd', '--help']\n"
        "from plugins.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(*sorted(sys.modules), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "completion  Print the completion script" in done.stdout
    assert not {"rich", "aiohttp", "zmq", "msgspec", "asyncio", "prompt_toolkit"} & set(done.stderr.split())
