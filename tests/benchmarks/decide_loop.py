"""Why the ROUTER is drained by hand: round trips through a broker, on zmq.asyncio and drained. For ADR 2.

`python tests/benchmarks/decide_loop.py`: three processes over ipc, the two loops in turn, three times.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zmq
import zmq.asyncio

NUM_MESSAGES = 20_000
IN_FLIGHT = (1, 64)
BARE_LOOP = Path(__file__).with_name("bare_loop.py")


def awaited_router(endpoint: str) -> None:
    """The same broker as in bare_loop.py, with one await a message."""

    async def run() -> None:
        socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
        socket.bind(endpoint)
        print("bound", flush=True)
        while True:
            sender, *rest = await socket.recv_multipart()
            await socket.send_multipart(rest if sender == b"worker" else [b"worker", sender, *rest])

    asyncio.run(run())


def measure(router: list[str]) -> dict[int, float]:
    """Round trips a second, by how many are in flight."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/s"
        processes = [_start([*router, endpoint]), _start([str(BARE_LOOP), "worker", endpoint])]
        try:
            return {in_flight: _rate(endpoint, in_flight) for in_flight in IN_FLIGHT}
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    return process


def _rate(endpoint: str, in_flight: int) -> float:
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, f"client-{in_flight}".encode())
    socket.connect(endpoint)
    # The first shows that all are there; the router may have dropped it before the worker came.
    while not socket.poll(100):
        socket.send(b"x" * 60)
    num = NUM_MESSAGES // 10 if in_flight == 1 else NUM_MESSAGES
    while socket.poll(100):
        socket.recv()
    began = time.perf_counter()
    for _ in range(in_flight):
        socket.send(b"x" * 60)
    for _ in range(num):
        socket.recv()
        socket.send(b"x" * 60)
    seconds = time.perf_counter() - began
    socket.close(0)
    return num / seconds


def main() -> None:
    """Print the median of three turns."""
    routers = {
        "zmq.asyncio": [__file__, "router"],
        "drained": [str(BARE_LOOP), "router"],
    }
    turns: dict[str, list[dict[int, float]]] = {name: [] for name in routers}
    for _ in range(3):
        for name, router in routers.items():
            turns[name].append(measure(router))
    for name, rates in turns.items():
        for in_flight in IN_FLIGHT:
            rate = statistics.median(turn[in_flight] for turn in rates)
            each_us = 1e6 / rate * in_flight
            print(f"{name:12} {in_flight:3} in flight: {rate:8.0f} round trips/s, {each_us:6.0f} us each")
    print(f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}, python {sys.version.split()[0]}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["router"]:
        awaited_router(sys.argv[2])
    else:
        main()
