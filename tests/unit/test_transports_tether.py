"""A child gets one line of instructions, and notices when its parent is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from transports import tether
from transports.tether import PR_SET_PDEATHSIG, PeerBootstrap

READ = """
from transports.errors import ConfigError
from transports.tether import PeerBootstrap, read_bootstrap
try:
    print(read_bootstrap(PeerBootstrap).name)
except ConfigError as e:
    print("refused:", e.message)
"""
BOOTSTRAP = PeerBootstrap(endpoint="ipc:///x", token="t", name="me", kind="echo", mlxd_version="1")


def tell(text: bytes) -> str:
    """What a child makes of *text* on its stdin."""
    result = subprocess.run(
        [sys.executable, "-c", READ], input=text, capture_output=True, timeout=20, check=False
    )
    assert not result.stderr
    return result.stdout.decode().strip()


def test_the_line_is_read() -> None:
    assert tell(msgspec.json.encode(BOOTSTRAP) + b"\nwhat follows\n") == "me"


@pytest.mark.parametrize(
    "text", [b"", b"no newline", b"{}\n", b"junk\n", b"\xff\xfe\n", b"x" * (1 << 21)], ids=len
)
def test_a_process_that_was_started_by_hand_says_so(text: bytes) -> None:
    answer = tell(text)

    assert answer.startswith("refused: stdin:")
    assert "mlxd's processes are started by mlxd" in answer


def test_a_stdin_that_cannot_be_read_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket whose other side died may say so by an error, as systems see fit."""

    def read(descriptor: int, _: int) -> bytes:
        raise ConnectionResetError(descriptor)

    monkeypatch.setattr(os, "read", read)
    orphaned = threading.Event()

    tether.die_with_parent(orphaned.set)

    assert orphaned.wait(5)


def test_a_closed_stdin_is_noticed() -> None:
    program = """
import os, time
from transports.tether import die_with_parent
die_with_parent(lambda: os._exit(7))
print("up", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        child.stdin.write(b"noise is no reason to die\n")
        child.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)

        child.stdin.close()

        assert child.wait(5) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="the system kills orphans on Linux only")
def test_the_system_kills_an_orphan() -> None:
    """Also one that is stuck and reads no stdin."""
    assert PR_SET_PDEATHSIG == 1
    parent = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import os, time
from transports.tether import kill_with_parent
kill_with_parent()
print(os.getpid(), flush=True)
time.sleep(60)
'''])
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout
        pid = int(process.stdout.readline())

        process.kill()
        process.wait()

    deadline_s = time.monotonic() + 5
    while _is_alive(pid):
        assert time.monotonic() < deadline_s, f"{pid} outlived its parent"
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0] != "Z"
