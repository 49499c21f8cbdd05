"""The road through the kernel without HTTP, and what the kernel costs against a bare ROUTER loop.

The rates are measured with the same client and the same answering worker, which do next to nothing: once
with a ROUTER between them that passes frames on unread, once with the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
import zmq
from support import ECHO, Figure, chat, echo_home, percentile, running_kernel, temporary_home

from plugins.client import KernelClient
from transports.envelope import new_id
from transports.frames import join, parcel, split
from transports.messages import Delta, Hello, Pong
from transports.rundir import Connection
from transports.settings import KernelSettings, Settings

IN_FLIGHT = 64
# Rounds of both sides in turn; the ratio is of the medians.
NUM_ROUNDS = 7
PEERS = str(Path(__file__).with_name("bare_peers.py"))


class RawClient:
    """A DEALER with prepared submits: as many in flight as there are, each sent again when it is answered."""

    def __init__(self, endpoint: str, connection: Connection | None, in_flight: int = IN_FLIGHT) -> None:
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, new_id().encode())
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._submits = {
            request_id: join(parcel("submit", chat("hi"), ids=(request_id,), model=ECHO, task="chat"))
            for request_id in (new_id() for _ in range(in_flight))
        }
        if connection:
            hello = Hello(
                role="frontend",
                kind="benchmark",
                name="raw",
                token=connection.token,
                pid=os.getpid(),
                mlxd_version=connection.version,
            )
            self._socket.send_multipart(join(parcel("hello", hello)))
            assert split(self._socket.recv_multipart(), 16).envelope.type == "welcome"

    def rate(self, count: int) -> float:
        """Round trips a second."""
        started_s = time.perf_counter()
        for frames in self._submits.values():
            self._socket.send_multipart(frames)
        num_sent, num_done = len(self._submits), 0
        while num_done < count:
            envelope = split(self._socket.recv_multipart(), 16).envelope
            if envelope.type == "ping":
                self._socket.send_multipart(join(parcel("pong", Pong())))
            for request_id in envelope.finished:
                num_done += 1
                if num_sent < count:
                    num_sent += 1
                    self._socket.send_multipart(self._submits[request_id])
        return count / (time.perf_counter() - started_s)

    def close(self) -> None:
        self._socket.close()


def _start(*arguments: str) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
    process = subprocess.Popen(
        [sys.executable, PEERS, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    return process, process.stdin, process.stdout


def rates(folder: Path, count: int) -> tuple[list[float], list[float], list[float]]:
    """Round trips a second through the bare router and the kernel in turn; then one at a time, bare."""
    endpoint = f"ipc://{folder / 'bare.sock'}"
    processes = [_start("router", endpoint), _start("worker", endpoint)]
    for _, _, stdout in processes:
        stdout.readline()
    kernel = _start("kernel")
    processes.append(kernel)
    _, stdin, stdout = kernel
    settings = Settings(kernel=KernelSettings(frontends=()))
    home = str(echo_home(folder / "home"))
    stdin.write(msgspec.json.encode({"home": home, "settings": settings, "preload": [ECHO]}) + b"\n")
    stdin.flush()
    connection = msgspec.json.decode(stdout.readline(), type=Connection)
    bare, through = RawClient(endpoint, None), RawClient(connection.endpoint, connection)
    measured: tuple[list[float], list[float], list[float]] = ([], [], [])
    for client in (bare, through):
        client.rate(count // 4)
    for _ in range(NUM_ROUNDS):
        measured[0].append(bare.rate(count))
        measured[1].append(through.rate(count))
        alone = RawClient(endpoint, None, in_flight=1)
        measured[2].append(alone.rate(count // 8))
        alone.close()
    bare.close()
    through.close()
    for process, its_stdin, _ in processes:
        its_stdin.close()
        process.wait()
    return measured


async def latencies_s(client: KernelClient, count: int) -> list[float]:
    """From submit to the first text of the echo worker, one request at a time."""
    taken = []
    for _ in range(count):
        started_s = time.perf_counter()
        async with client.submit(task="chat", model=ECHO, body=chat("hi")) as submission:
            async for update in submission:
                if isinstance(update, Delta):
                    taken.append(time.perf_counter() - started_s)
    return taken


async def _latencies_s(home: Path, count: int) -> Sequence[float]:
    async with running_kernel(home) as (_, client, _):
        await latencies_s(client, count // 10)
        return await latencies_s(client, count)


@contextlib.contextmanager
def _one_cpu() -> Iterator[None]:
    """Keeps this process, and those that it starts, on one processor; only Linux can."""
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    _allow({max(allowed)})
    try:
        yield
    finally:
        _allow(allowed)


def _allow(cpus: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cpus)


async def measure(count: int) -> list[Figure]:
    """All figures; *count* round trips each."""
    with temporary_home() as folder:
        home = echo_home(folder / "echo")
        taken_ms = [taken_s * 1e3 for taken_s in await _latencies_s(home, count)]
        with _one_cpu():
            alone_ms = [taken_s * 1e3 for taken_s in await _latencies_s(home, count)]
        bare, through, alone = await asyncio.to_thread(rates, folder, count)
    detail = f"{percentile(through, 50):,.0f}/s against {percentile(bare, 50):,.0f}/s"
    ratio = percentile(through, 50) / percentile(bare, 50)
    return [
        Figure("submit -> event -> client, echo worker, p50", percentile(taken_ms, 50), "ms", ("<=", 0.4)),
        # What is left without waking another processor, which takes a virtual machine long.
        Figure("the same with all processes on one processor, p50", percentile(alone_ms, 50), "ms"),
        Figure("two hops through a bare ROUTER, one at a time, mean", 1e3 / percentile(alone, 50), "ms"),
        Figure(
            f"round trips/s, {IN_FLIGHT} in flight, kernel / bare ROUTER", ratio, "x", (">=", 0.5), detail
        ),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 6400)):
        print(figure)
