"""The longest pause of others while large and odd bodies come: a client asks /health every millisecond."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time

from support import ROOT, Figure, add_echo, percentile, running_kernel, temporary_home

sys.path.append(str(ROOT / "tests"))

from large_bodies import BODIES, MODEL, LargeBody

PERIOD_S = 0.001
# For an answer to a body: an echo model has to read it, too.
TIMEOUT_S = 60.0
# Before a body comes and after its answer.
REST_S = 0.05


def _pauses_ms(address: tuple[str, int], is_over: threading.Event, pauses_ms: list[float]) -> None:
    """Ask until it is over; what Python does in this process meanwhile is little and holds nothing up."""
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(address, timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not is_over.wait(PERIOD_S):
            began_s = time.perf_counter()
            connection.sendall(request)
            connection.recv(65536)
            pauses_ms.append((time.perf_counter() - began_s) * 1e3)


def _send(address: tuple[str, int], path: str, data: bytes) -> int:
    """The status of the answer; 0 if the connection was closed without one."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(address, timeout=TIMEOUT_S) as connection:
        # What is refused by its beginning is not read to its end.
        with contextlib.suppress(ConnectionError):
            connection.sendall(head.encode())
            connection.sendall(data)
        with contextlib.suppress(ConnectionError):
            return int(connection.recv(65536)[9:12] or 0)
    return 0


def _beside(address: tuple[str, int], body: LargeBody) -> list[float]:
    """Milliseconds that each /health took meanwhile."""
    data = body.make()
    is_over, pauses_ms = threading.Event(), list[float]()
    asking = threading.Thread(target=_pauses_ms, args=(address, is_over, pauses_ms))
    asking.start()
    try:
        time.sleep(REST_S)
        status = _send(address, body.path, data)
        time.sleep(REST_S)
    finally:
        is_over.set()
        asking.join()
    assert status < 500 or status == 503, f"{body.path}: {status}"
    return pauses_ms


def _measure(url: str, count: int) -> Figure:
    host, _, port = url.removeprefix("http://").rpartition(":")
    address = (host, int(port))
    # What is started or imported on first use is over.
    _beside(address, BODIES["a picture"])
    of_kind: dict[str, list[float]] = {name: [] for name in BODIES}
    for _ in range(count):
        for name, body in BODIES.items():
            of_kind[name] += _beside(address, body)
    slowest = max(of_kind, key=lambda name: max(of_kind[name]))
    all_ms = [one for pauses_ms in of_kind.values() for one in pauses_ms]
    return Figure(
        f"longest pause beside bodies of up to 20 MB, worst of {len(BODIES)} kinds",
        max(all_ms),
        "ms",
        ("<=", 50),
        f"{slowest}; of {len(all_ms)} requests: median {percentile(all_ms, 50):.2f} ms, "
        f"p99 {percentile(all_ms, 99):.1f} ms",
    )


async def measure(count: int) -> list[Figure]:
    """Each kind of body *count* times."""
    with temporary_home() as home:
        add_echo(home, MODEL, modalities=["text", "image"])
        async with running_kernel(home, http=True, model=MODEL) as (_, _, url):
            return [await asyncio.to_thread(_measure, url, count)]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)):
        print(figure)
