"""`mlxd serve` from its start to its end, also when neither goes well."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_harness import MLXD, environment, mlxd, processes_of, serving

from transports import rundir

# Three seconds of echo/slow.
LONG = "word " * 300


@contextmanager
def answering(home: Path) -> Iterator[subprocess.Popen[str]]:
    """`mlxd run` in the middle of a long answer."""
    run = subprocess.Popen(
        [MLXD, "run", "echo/slow", LONG],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout
        # The first character, and nothing that a buffer would keep from `communicate`.
        assert os.read(run.stdout.fileno(), 1) == b"w"
        yield run
    finally:
        run.kill()
        run.wait()


def one_line_error(home: Path, *args: str, **more: str) -> tuple[int, str]:
    done = mlxd(home, "serve", *args, **more)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "timestamp=" not in done.stderr
    assert done.stdout == ""
    return done.returncode, errors[0]


def test_named_models_are_loaded_when_it_is_ready(home: Path) -> None:
    with serving(home, "echo/plain") as server:
        server.wait_until_ready()

        assert "echo/plain  echo  ready" in mlxd(home, "ps").stdout


def test_ctrl_c_ends_it_and_leaves_nothing(home: Path) -> None:
    with serving(home, "echo/plain") as server:
        server.wait_until_ready()

        server.press_ctrl_c()

        code, _ = server.end()
    assert code == 0
    assert processes_of(home) == []
    assert not rundir.locate(home).exists()


def test_the_first_ctrl_c_lets_answers_finish(home: Path) -> None:
    with serving(home, "echo/slow") as server:
        server.wait_until_ready()
        with answering(home) as run:
            server.press_ctrl_c()
            server.wait_for_error("Finishing 1 request; Ctrl-C again ends at once.")
            text, _ = run.communicate(timeout=30)

        code, _ = server.end()
    assert (0, LONG.strip()) == (run.returncode, f"w{text}".strip())
    assert code == 0


def test_the_second_ctrl_c_ends_at_once(home: Path) -> None:
    with serving(home, "echo/slow") as server:
        server.wait_until_ready()
        with answering(home) as run:
            server.press_ctrl_c()
            server.wait_for_error("Finishing 1 request")
            server.press_ctrl_c()
            pressed_s = time.monotonic()
            code, _ = server.end()
            took_s = time.monotonic() - pressed_s
            _, error = run.communicate(timeout=30)

    assert code == 0
    assert took_s < 2.5
    assert run.returncode == 1
    assert error.startswith("Error: ")
    assert processes_of(home) == []


def test_stop_ends_it(home: Path) -> None:
    with serving(home, "--no-preload") as server:
        server.wait_until_ready()

        done = mlxd(home, "stop")

        assert (done.returncode, done.stderr) == (0, "Stopped.\n")
        assert server.end()[0] == 0


def test_a_second_one_says_that_the_first_runs(home: Path) -> None:
    with serving(home, "--no-preload") as server:
        server.wait_until_ready()

        code, line = one_line_error(home, "--no-preload")

    assert code == 1
    assert "a kernel is running here already" in line


def test_a_killed_kernel_is_told(home: Path) -> None:
    with serving(home, "--no-preload") as server:
        server.wait_until_ready()
        pid = int((rundir.locate(home) / "kernel.lock").read_text())

        os.kill(pid, signal.SIGKILL)

        code, error = server.end()
    assert code == 1
    assert "Error: the kernel ended by itself (SIGKILL)" in error


def test_a_port_in_use_is_told_at_once(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        started_s = time.monotonic()

        code, line = one_line_error(home, "--port", port, MLXD_KERNEL_FRONTENDS="http")

    assert code == 1
    assert f"http.port: {port} is in use by " in line
    assert time.monotonic() - started_s < 5


@pytest.mark.parametrize(
    ("args", "more", "code", "part"),
    [
        (("--port", "99999"), {}, 2, "--port: expected an integer, 0 to 65535"),
        (("--host", "no.such.invalid"), {"MLXD_KERNEL_FRONTENDS": "http"}, 2, "http.host: no.such.invalid"),
        (("echo/none",), {}, 1, "echo/none"),
        (("echo/broken",), {}, 1, "echo/broken"),
        (("--no-preload",), {"MLXD_HOME": "/dev/null/home"}, 1, "/dev/null/home"),
        (("echo/plain", "--no-preload"), {}, 2, "exclude each other"),
    ],
    ids=["port", "host", "unknown model", "corrupt model", "unwritable home", "usage"],
)
def test_what_cannot_work_is_one_line(
    home: Path, args: tuple[str, ...], more: dict[str, str], code: int, part: str
) -> None:
    broken = home / "models" / "echo" / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "echo", "num_slots": "many"}')

    found, line = one_line_error(home, *args, **more)

    assert (code, True) == (found, part in line), line
    assert processes_of(home) == []


def test_ctrl_c_ends_run_and_the_kernel_that_it_started(home: Path) -> None:
    with answering(home) as run:
        run.send_signal(signal.SIGINT)
        _, error = run.communicate(timeout=30)

    assert run.returncode == 130
    assert "Traceback" not in error
    assert processes_of(home) == []


def test_ctrl_c_cancels_the_request_of_run(home: Path) -> None:
    with serving(home, "echo/slow") as server:
        server.wait_until_ready()
        with answering(home) as run:
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=30)

        (worker,) = json.loads(mlxd(home, "ps", "--json").stdout)
    assert worker["num_active"] == 0


def test_a_frontend_that_cannot_run_is_told_and_http_goes_on(home: Path) -> None:
    more = {"MLXD_KERNEL_FRONTENDS": "http,absent", "MLXD_HTTP_PORT": "0"}
    with serving(home, "--no-preload", **more) as server:
        assert server.wait_until_ready().startswith("mlxd is ready at http://")
        server.wait_for_error("frontend:absent does not run: frontend 'absent': not installed")


def test_without_any_frontend_that_can_run_it_ends(home: Path) -> None:
    code, error = one_line_error(home, "--no-preload", MLXD_KERNEL_FRONTENDS="absent")

    assert code == 1
    assert "frontend 'absent': not installed; there are: cli, http, stdio" in error
