"""Pixels to a worker and back, in the message and by shared file: from which size on the file is faster.

From a child with the pixels, as the decode process is one, to the end of the echo worker's answer. In the
message they pass a pipe, the frontend and the kernel; by shared file only its name does. They take turns.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil
from support import ECHO, Figure, echo_home, percentile, running_kernel, temporary_home

from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports.messages import ChatMessage, ChatRequest, Done, FramePixels, Image, ImagePart, SharedPixels
from transports.pixels import NUM_CHANNELS, write_shared
from transports.settings import MediaSettings

SIZES_MB = (0.1, 0.3, 0.5, 1, 3, 10, 30, 50)
WIDTH = 2000
ROW_BYTES = WIDTH * NUM_CHANNELS
# Not what is measured.
NO_LIMIT = 1 << 40
# Of each way, before it counts.
NUM_WARM_UPS = 2


class Source:
    """A child that has pixels in its memory."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "source"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin
        assert self.process.stdout
        self._stdin: IO[bytes] = self.process.stdin
        self._stdout: IO[bytes] = self.process.stdout

    def ask(self, num_bytes: int, folder: str) -> bytes | str:
        """Pixels, or with a *folder* the name of the file that they are in."""
        self._stdin.write(f"{num_bytes} {folder}\n".encode())
        self._stdin.flush()
        if folder:
            return self._stdout.readline().decode().strip()
        return self._stdout.read(num_bytes)

    def close(self) -> None:
        self._stdin.close()
        self._stdout.close()
        self.process.wait()


def be_source() -> None:
    """The child: answers until its stdin ends."""
    pixels = b""
    for line in sys.stdin:
        number, _, folder = line.rstrip("\n").partition(" ")
        if len(pixels) != int(number):
            pixels = os.urandom(int(number))
        if folder:
            print(write_shared(folder, pixels, NO_LIMIT), flush=True)
        else:
            sys.stdout.buffer.write(pixels)
            sys.stdout.buffer.flush()


async def road_s(client: KernelClient, source: Source, num_bytes: int, *, shares: bool) -> float:
    """How long pixels take from the source to a worker, and the answer back, seconds."""
    started_s = time.perf_counter()
    pixels = await asyncio.to_thread(source.ask, num_bytes, client.shared_folder if shares else "")
    where = SharedPixels(name=pixels) if isinstance(pixels, str) else FramePixels(buffer=0)
    image = Image(width=WIDTH, height=num_bytes // ROW_BYTES, digest=bytes(32), pixels=where)
    message = ChatMessage(role="user", content=(ImagePart(image=0),))
    submission = client.submit(
        task="chat",
        model=ECHO,
        body=ChatRequest(messages=(message,), images=(image,)),
        buffers=(pixels,) if isinstance(pixels, bytes) else (),
    )
    async for update in submission:
        if isinstance(update, Done):
            return time.perf_counter() - started_s
    raise RuntimeError("no answer")


class Way:
    """What was measured of one way: milliseconds on the clock, and of processor time of all processes."""

    def __init__(self) -> None:
        self.taken_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def __str__(self) -> str:
        return f"{percentile(self.taken_ms, 50):.3g} ms ({sum(self.cpu_ms) / len(self.cpu_ms):.3g} ms CPU)"


def cpu_s(processes: list[psutil.Process]) -> float:
    """Processor time of these so far, seconds."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


async def roads(
    client: KernelClient, processes: list[psutil.Process], source: Source, count: int
) -> list[Figure]:
    """A figure for each size."""
    figures = []
    for size_mb in SIZES_MB:
        num_bytes = int(size_mb * 1e6) // ROW_BYTES * ROW_BYTES
        ways = {False: Way(), True: Way()}
        for turn in range(2 * (count + NUM_WARM_UPS)):
            shares = turn % 2 == 1
            before_s = cpu_s(processes)
            taken_s = await road_s(client, source, num_bytes, shares=shares)
            if turn >= 2 * NUM_WARM_UPS:
                ways[shares].taken_ms.append(taken_s * 1e3)
                ways[shares].cpu_ms.append((cpu_s(processes) - before_s) * 1e3)
        ratio = percentile(ways[True].taken_ms, 50) / percentile(ways[False].taken_ms, 50)
        detail = f"{ways[True]} against {ways[False]}"
        name = f"{size_mb:g} MB of pixels to a worker, by shared file / in the message"
        figures.append(Figure(name, ratio, "x", detail=detail))
    return figures


def reading(folder: str, count: int) -> Figure:
    """What the worker does with a file: read it, against mapping it and copying out."""
    num_bytes = 3_000_000

    def read(path: Path) -> bytes:
        descriptor = os.open(path, os.O_RDONLY)
        found = os.read(descriptor, num_bytes)
        os.close(descriptor)
        return found

    def copy_map(path: Path) -> bytes:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            return bytes(mapped)

    def once_ms(how: Callable[[Path], bytes]) -> float:
        # A new file each time, as for each picture.
        path = Path(folder).parent / write_shared(folder, os.urandom(num_bytes), NO_LIMIT)
        started_s = time.perf_counter()
        assert len(how(path)) == num_bytes
        taken_s = time.perf_counter() - started_s
        path.unlink()
        return taken_s * 1e3

    taken = [(once_ms(read), once_ms(copy_map)) for _ in range(count)]
    reads, copies = ([one[side] for one in taken] for side in (0, 1))
    detail = f"mapped and copied {percentile(copies, 50):.3g} ms"
    return Figure("3 MB read from a shared file, p50", percentile(reads, 50), "ms", detail=detail)


def _processes(kernel: KernelProcess, source: Source) -> list[psutil.Process]:
    """All that pixels pass: this one, the source, kernel and worker."""
    root = psutil.Process(kernel.pid)
    return [psutil.Process(), psutil.Process(source.process.pid), root, *root.children(recursive=True)]


async def measure(count: int) -> list[Figure]:
    """All figures; *count* pictures of each size and way."""
    source = Source()
    try:
        with temporary_home() as folder:
            async with running_kernel(echo_home(folder)) as (kernel, client, _):
                figures = await roads(client, _processes(kernel, source), source, count)
                figures.append(reading(client.shared_folder, count))
    finally:
        source.close()
    return [*figures, Figure("media.shared_memory_bytes", MediaSettings().shared_memory_bytes / 1e6, "MB")]


if __name__ == "__main__":
    if sys.argv[1:] == ["source"]:
        be_source()
    else:
        for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 30)):
            print(figure)
