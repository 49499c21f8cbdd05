"""What breaks servers on stdin and stdout: pollution, framing, huge messages, slow readers, and every end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cli_harness import MLXD, TIMEOUT_S, environment, processes_of, serving_echoes
from stdio_harness import Program, editor

MIB = 1024 * 1024
# From the end of stdin, of stdout or of the parent to that of the process: a second, on a quiet machine.
END_S = 3.0
INITIALIZE = {"protocolVersion": 1, "clientCapabilities": {}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An MLXD_HOME whose kernel runs as long as the module."""
    with serving_echoes(tmp_path_factory.mktemp("stdio")) as home:
        yield home


@pytest.fixture
def program(served: Path) -> Iterator[Program]:
    with editor(served) as running:
        yield running


def request(id_: int, method: str, **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode()


def endless(model: str = "echo/slow", word: str = "x ", count: int = 20_000) -> dict[str, object]:
    """A chat that streams for longer than any test."""
    return {"model": model, "messages": [{"role": "user", "content": word * count}], "stream": True}


def wait_for_chunk(program: Program) -> None:
    while program.message().get("method") != "chunk":
        pass


def num_requests(program: Program) -> int:
    """Those of all frontends, as the kernel sees them."""
    return sum(frontend.get("num_requests", 0) for frontend in program.ask("status")["frontends"])


def wait_until_gone(pid: int) -> float:
    """Seconds until the process has ended."""
    started_s = time.monotonic()
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() - started_s < TIMEOUT_S
            time.sleep(0.01)
    return time.monotonic() - started_s


# --- stdout -----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="this system tells nobody another's limits")
def test_no_command_leaves_its_memory_in_a_core_dump(program: Program) -> None:
    program.ask("status")

    assert psutil.Process(program.process.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)


def test_whatever_prints_goes_to_stderr() -> None:
    """print, a C library, a child: as a chatty plugin would, after stdout was claimed."""
    code = """
import os, subprocess, sys
from plugins.stdio.pipes import claim_stdout
fd = claim_stdout()
print("from print", flush=True)
os.write(1, b"from fd 1\\n")
subprocess.run(["echo", "from a child"], check=True)
write = f"import os; os.write({fd}, b'a child has it')"
subprocess.run([sys.executable, "-c", write], stderr=subprocess.DEVNULL)
os.write(fd, b"protocol")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=TIMEOUT_S)

    assert b"protocol" == done.stdout
    assert {b"from print", b"from fd 1", b"from a child"} == set(done.stderr.splitlines())


# A library that says hello when it is imported.
CHATTY = """
import os, sys
def hook(event, args):
    if event == "import" and args[0] == "zmq":
        os.write(1, b"hello from zmq\\n")
sys.addaudithook(hook)
"""


def test_nothing_but_messages_is_on_stdout(served: Path, tmp_path: Path) -> None:
    """With all warnings and the whole log on, and chatty libraries."""
    (tmp_path / "sitecustomize.py").write_text(CHATTY)
    loud = {"PYTHONWARNINGS": "default", "PYTHONDEVMODE": "1", "MLXD_LOG_LEVEL": "debug"}
    with editor(served, PYTHONPATH=str(tmp_path), **loud) as program:
        program.request("models.list")
        program.request("chat.completions.create", model="echo/plain", messages=[])
        program.request("nonsense")
        program.stdin.write(b"nonsense\n")
        for _ in range(4):
            program.message()
        _, rest, error = program.end()

    assert "hello from zmq" in error
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_closed_descriptor_is_not_taken_by_a_socket(served: Path, closed: str) -> None:
    """What is opened next would get its number, and be written to."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" stdio {closed}>&- {closed}<&-', MLXD],
        env=environment(served),
        input=request(1, "models.list") + b"\n",
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.stderr == b""
    assert (closed == "2") == (b"echo/plain" in done.stdout)


# --- messages ---------------------------------------------------------------------------------


def test_single_bytes_and_two_messages_at_once_are_the_same(program: Program) -> None:
    for byte in request(1, "models.list") + b"\r\n":
        program.stdin.write(bytes([byte]))
    program.stdin.write(request(2, "models.list") + b"\n\n" + request(3, "models.list") + b"\n")

    assert {1, 2, 3} == {program.message()["id"] for _ in range(3)}


def test_content_length_is_answered_with_content_length(served: Path) -> None:
    body = request(1, "nö 🙂")
    with editor(served) as program:
        program.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        header, blank = program.line(), program.line()
        # The body has no line end: the next header ends its line.
        program.stdin.write(b"Content-Length: 2\r\n\r\n{}")
        content = program.line()

    assert b"\r" == blank
    size = int(header.removeprefix(b"Content-Length: "))
    assert -32601 == json.loads(content[:size])["error"]["code"]
    assert content[size:].startswith(b"Content-Length: ")


def test_a_huge_line_is_refused_and_the_next_one_read(program: Program) -> None:
    program.ask("models.list")
    before = psutil.Process(program.process.pid).memory_info().rss
    for _ in range(100):
        program.stdin.write(b"[" * MIB)
    program.stdin.write(b"\n")
    grown = psutil.Process(program.process.pid).memory_info().rss - before

    assert -32600 == program.answer(None)["code"]
    assert program.ask("models.list")["data"]
    # The limit is 32 MiB, and what holds the bytes may take half as much again.
    assert grown < 64 * MIB


def test_what_is_no_message_is_told_and_survived(program: Program) -> None:
    program.stdin.write(b'nonsense\n{"id":1}\n[]\n"x"\n' + b"[" * 100_000 + b"\n\xff\xfe\n")
    codes = [program.message()["error"]["code"] for _ in range(6)]

    assert [-32700, -32600, -32600, -32600, -32700, -32700] == codes
    assert program.ask("models.list")["data"]


def test_headers_that_cannot_be_read_end_it_with_a_word(served: Path) -> None:
    with editor(served) as program:
        program.stdin.write(b"Content-Length: 12 bytes\r\n\r\n")
        code, out, error = program.end()

    assert 1 == code
    assert b"-32700" in out
    assert "Traceback" not in error


def test_a_thousand_notifications_and_unknown_ids_are_never_answered(program: Program) -> None:
    for number in range(1000):
        program.notify("$/cancelRequest", id=number)
        program.notify("$/setTrace", value="off")
        program.notify("no/such")
    id_ = program.request("models.list")

    assert id_ == program.message()["id"]


# --- slow readers -----------------------------------------------------------------------------


def test_who_does_not_read_answers_is_not_read(program: Program, served: Path) -> None:
    """An editor that hangs, and asks on: neither memory nor the kernel pays for it."""
    program.ask("models.list")
    before = psutil.Process(program.process.pid).memory_info().rss
    os.set_blocking(program.stdin.fileno(), False)
    batch = b"".join(request(number, "nonsense " + "x" * 60) + b"\n" for number in range(100))
    num_written, deadline_s = 0, time.monotonic() + 3
    while time.monotonic() < deadline_s:
        taken = program.stdin.write(batch)
        if taken is None:
            # Full: as it is for good once it is not read any more.
            time.sleep(0.05)
            deadline_s = min(deadline_s, time.monotonic() + 1)
            continue
        num_written += taken
        deadline_s = time.monotonic() + 3
    grown = psutil.Process(program.process.pid).memory_info().rss - before

    assert num_written < 4 * MIB
    assert grown < 16 * MIB


def test_a_stream_that_nobody_reads_is_cancelled(served: Path) -> None:
    """The worker's slot is free again, and the editor, once it wakes, is told."""
    with editor(served, MLXD_STDIO_WRITE_TIMEOUT_S="0.3") as stuck, editor(served) as other:
        id_ = stuck.request("chat.completions.create", **endless(word="x" * 2000 + " ", count=1000))
        deadline_s = time.monotonic() + TIMEOUT_S
        wait_for_chunk(stuck)
        while num_requests(other):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        error = stuck.answer(id_)

    assert "slow_reader" == error["data"]["code"]


# --- ends -------------------------------------------------------------------------------------


def test_the_end_of_stdin_ends_it_and_cancels_all(served: Path) -> None:
    with editor(served) as program, editor(served) as other:
        id_ = program.request("chat.completions.create", **endless())
        wait_for_chunk(program)
        assert 1 == num_requests(other)
        started_s = time.monotonic()
        code, rest, error = program.end()
        took_s = time.monotonic() - started_s

        assert 0 == num_requests(other)
    assert (0, "") == (code, error)
    assert took_s < END_S
    last = json.loads(rest.splitlines()[-1])
    assert (id_, -32800) == (last["id"], last["error"]["code"])


def test_a_pipe_of_a_shell_gets_its_answers(served: Path) -> None:
    """The last line needs no end, and what is quickly done is done before the end."""
    done = subprocess.run(
        [MLXD, "stdio"],
        env=environment(served),
        input=request(1, "models.list"),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )

    assert 1 == json.loads(done.stdout)["id"]


def test_a_closed_stdout_ends_it_without_a_traceback(program: Program) -> None:
    program.request("chat.completions.create", **endless())
    wait_for_chunk(program)
    program.stdout.close()
    started_s = time.monotonic()
    assert 1 == program.process.wait(TIMEOUT_S)

    assert time.monotonic() - started_s < END_S
    assert program.process.stderr
    assert b"" == program.process.stderr.read()
    program.process.stdout = None


def test_a_stdout_that_takes_nothing_is_a_failure(served: Path) -> None:
    """Such as a file on a full disk."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [MLXD, "stdio"],
            env=environment(served),
            input=request(1, "models.list"),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )

    assert (1, b"") == (done.returncode, done.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_good_order(program: Program, number: signal.Signals) -> None:
    program.request("chat.completions.create", **endless())
    wait_for_chunk(program)
    program.process.send_signal(number)
    started_s = time.monotonic()
    code, _, error = program.end()

    assert (0, "") == (code, error)
    assert time.monotonic() - started_s < END_S


def test_the_death_of_the_parent_ends_it_even_if_stdin_stays_open(served: Path) -> None:
    """A wrapper that is killed, while the editor holds the pipes that it gave us."""
    wrapper = """
import subprocess, sys
process = subprocess.Popen(sys.argv[1:])
print(process.pid, file=sys.stderr, flush=True)
process.wait()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", wrapper, MLXD, "stdio"],
        env=environment(served),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stderr
    assert process.stdin
    assert process.stdout
    pid = int(process.stderr.readline())
    process.stdin.write(request(1, "models.list") + b"\n")
    process.stdout.readline()
    process.kill()

    assert wait_until_gone(pid) < END_S
    process.communicate()


def test_its_own_kernel_ends_with_it(home: Path) -> None:
    with editor(home) as program:
        assert program.ask("models.list")["data"]
        assert len(processes_of(home)) == 2
        started_s = time.monotonic()
        code, _, error = program.end()

        assert (0, []) == (code, processes_of(home))
    assert time.monotonic() - started_s < END_S
    assert "Traceback" not in error


def test_its_own_kernel_ends_with_it_also_when_it_is_killed(home: Path) -> None:
    with editor(home) as program:
        program.ask("models.list")
        program.process.kill()
        deadline_s = time.monotonic() + TIMEOUT_S
        while processes_of(home):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


def test_a_kernel_that_was_lost_is_replaced(home: Path) -> None:
    with editor(home, MLXD_KERNEL_HEARTBEAT_S="0.1", MLXD_KERNEL_DEAD_AFTER_S="0.5") as program:
        first = program.ask("status")["pid"]
        os.kill(first, signal.SIGKILL)
        wait_until_gone(first)
        answers = [program.ask("status") for _ in range(2)]

    # The request that came before the loss was noticed may fail; the next one does not.
    assert first != answers[-1]["pid"]


def test_initialize_is_answered_before_there_is_a_kernel(home: Path) -> None:
    """It does not wait for a kernel, which may have to be started."""
    with editor(home, "--acp") as program:
        program.ask("initialize", **INITIALIZE)

        assert "agentInfo" in program.ask("initialize", **INITIALIZE)


def test_a_wrong_setting_is_a_line_on_stderr(served: Path) -> None:
    with editor(served, MLXD_STDIO_MAX_REQUESTS="0") as program:
        code, out, error = program.end()

    assert (2, b"") == (code, out)
    assert error.startswith("Error: MLXD_STDIO_MAX_REQUESTS")
