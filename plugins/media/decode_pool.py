"""The decode processes of a frontend: who decodes what, what happens when one dies, whose the files are."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from plugins.media.confinement import CLOCK_FACTOR
from plugins.media.decode_process import DecodeProcess, DecoderDied
from plugins.media.decode_task import Buffer, Decoded, Refused, Task
from plugins.media.picture import Picture
from transports.errors import BY_CODE, CapacityError, InvalidImage, MlxdError, ShuttingDown
from transports.logs import get_logger
from transports.pixels import NUM_CHANNELS, new_file_name, remove_shared
from transports.settings import MediaSettings

# Pictures that wait for a process; each holds its encoded bytes.
MAX_WAITING = 256
# Decode processes, unless a setting says otherwise; each may take a gigabyte.
MAX_USUAL = 4
# Beyond the decoder's own limits; it is only met by a process that the system stopped.
GRACE_S = 10.0
TOO_SLOW = (-signal.SIGXCPU, -signal.SIGALRM)

log = get_logger()


def usual_decoders(num_processors: int) -> int:
    """How many processes decode where nobody says; on two processors a second one takes from the models."""
    return max(1, min(MAX_USUAL, num_processors // 2))


class Result(NamedTuple):
    """What became of a picture or document."""

    pictures: list[Picture]
    # Before they were made smaller.
    num_pixels: int


class DecodePool:
    """Hands pictures to `media.num_decoders` processes, each started when it is first needed.

    Args:
        settings: The section [media].
        folder: Of this frontend, for shared files; "" for none.
    """

    def __init__(self, settings: MediaSettings, folder: str) -> None:
        self._settings = settings
        self._folder = folder
        num_decoders = settings.num_decoders or usual_decoders(os.cpu_count() or 1)
        self._slots = asyncio.Semaphore(num_decoders)
        self._idle: list[DecodeProcess] = []
        self._busy: set[DecodeProcess] = set()
        self._num_waiting = 0
        self._is_closed = False
        # A thread for each process: it waits for the pipes, and on Linux the process ends with it.
        self._threads = ThreadPoolExecutor(num_decoders, thread_name_prefix="decode")

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [process.pid for process in (*self._idle, *self._busy) if process.pid]

    async def decode(self, data: Buffer, path: str, *, side: int, pages: str, max_pages: int) -> Result:
        """Decode a picture or document; the files in the result are the caller's to remove.

        Raises:
            RequestError: It cannot be decoded; `param` is *path*.
            CapacityError: Too many wait already.
        """
        if self._num_waiting >= MAX_WAITING:
            raise CapacityError(f"{self._num_waiting} pictures wait to be decoded already", retry_after_s=1.0)
        self._num_waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._num_waiting -= 1
        try:
            return await self._decode(self._task(len(data), side, pages, max_pages), data, path)
        finally:
            self._slots.release()

    def remove(self, pictures: Iterable[Picture]) -> None:
        """Remove the files of *pictures*."""
        for picture in pictures:
            if isinstance(picture.pixels, str):
                remove_shared(self._folder, picture.pixels)

    async def close(self) -> None:
        """End all processes; what they work on fails."""
        self._is_closed = True
        for process in self._busy:
            process.kill()
        for process in self._idle:
            process.close()
        self._idle.clear()
        # Killed processes let go of their threads at once.
        await asyncio.to_thread(self._threads.shutdown)

    def _task(self, num_bytes: int, side: int, pages: str, max_pages: int) -> Task:
        settings = self._settings
        return Task(
            num_bytes=num_bytes,
            side=side,
            max_pixels=settings.max_image_pixels,
            pages=pages,
            max_pages=max_pages,
            cpu_s=settings.decode_cpu_s,
            folder=self._folder,
            names=tuple(new_file_name() for _ in range(max_pages)),
            shared_from_bytes=settings.shared_memory_bytes,
            max_shared_bytes=settings.max_shared_bytes,
        )

    async def _decode(self, task: Task, data: Buffer, path: str) -> Result:
        try:
            return await self._attempt(task, data, path)
        except DecoderDied as e:
            if self._is_closed or e.status >= 0 or e.status in TOO_SLOW:
                raise self._blame(e, task, path) from None
        # Somebody else may have ended the first: only one that two die of is to blame.
        try:
            return await self._attempt(task, data, path)
        except DecoderDied as e:
            raise self._blame(e, task, path) from None

    def _blame(self, died: DecoderDied, task: Task, path: str) -> MlxdError:
        """The error of what a process was at when it died."""
        return (
            ShuttingDown(f"{path}: mlxd is shutting down") if self._is_closed else _fault_of(died, task, path)
        )

    async def _attempt(self, task: Task, data: Buffer, path: str) -> Result:
        process = self._idle.pop() if self._idle else DecodeProcess()
        self._busy.add(process)
        work = self._threads.submit(self._run, process, task, data)
        try:
            async with asyncio.timeout(task.cpu_s * CLOCK_FACTOR * (task.max_pages + 1) + GRACE_S):
                result = await asyncio.wrap_future(work)
        except DecoderDied as e:
            log.warning("decoder_died", how=e.how)
            raise
        except BaseException as e:
            process.kill()
            # Also of a result that came too late for us.
            work.add_done_callback(lambda _: self._forget(process, task))
            if isinstance(e, TimeoutError):
                raise InvalidImage(f"{path}: decoding it took too long", param=path) from None
            raise
        else:
            self._idle.append(process)
        finally:
            self._busy.discard(process)
        if isinstance(result, Refused):
            raise BY_CODE[result.code](f"{path}: {result.message}", param=path)
        return result

    def _run(self, process: DecodeProcess, task: Task, data: Buffer) -> Result | Refused:
        """Do *task*; in a thread. When the process dies, no file of it is left."""
        max_bytes = task.max_pages * task.side * task.side * NUM_CHANNELS
        try:
            answer, pixels = process.run(task, data, max_bytes)
            if isinstance(answer, Refused):
                return answer
            return Result(_pictures(answer, pixels, task), answer.num_pixels)
        except DecoderDied:
            self._forget(process, task)
            raise

    def _forget(self, process: DecodeProcess, task: Task) -> None:
        process.close()
        if self._folder:
            for name in task.names:
                remove_shared(self._folder, name)


def _pictures(answer: Decoded, pixels: bytearray, task: Task) -> list[Picture]:
    """The pictures of an answer, which is believed only as far as it was asked for.

    Raises:
        DecoderDied: It is not what was asked for.
    """
    pictures: list[Picture] = []
    names = [f"{Path(task.folder).name}/{name}" for name in task.names]
    left = memoryview(pixels)
    if not 1 <= len(answer.pictures) <= len(names):
        raise DecoderDied(0)
    for picture, name in zip(answer.pictures, names, strict=False):
        if not (1 <= picture.width <= task.side and 1 <= picture.height <= task.side):
            raise DecoderDied(0)
        if picture.name not in ("", name) or len(picture.digest) != 32:
            raise DecoderDied(0)
        own = b"" if picture.name else bytes(left[: picture.num_bytes])
        left = left[len(own) :]
        if not picture.name and len(own) != picture.num_bytes:
            raise DecoderDied(0)
        pictures.append(
            Picture(
                width=picture.width,
                height=picture.height,
                digest=picture.digest,
                pixels=picture.name or own,
            )
        )
    return pictures


def _fault_of(died: DecoderDied, task: Task, path: str) -> MlxdError:
    """The error of the picture during which a process died."""
    if died.status >= 0:
        return MlxdError(f"{path}: the decode process ended by itself ({died.how}); please report it")
    if died.status in TOO_SLOW:
        return InvalidImage(
            f"{path}: decoding it took more than {task.cpu_s} s (media.decode_cpu_s)", param=path
        )
    return InvalidImage(
        f"{path}: two decode processes crashed on it ({died.how}); save it again as PNG or JPEG", param=path
    )
