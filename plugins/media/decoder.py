"""`python -P -m plugins.media.decoder`: a decode process of a frontend. Tasks on stdin, answers on stdout.

It ends when stdin does, and is ended by the system when a picture takes too long.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial

from plugins.media import confinement
from plugins.media.decode import Page, decode
from plugins.media.decode_task import (
    BEGUN,
    TASKS,
    Answer,
    Decoded,
    Pixels,
    Refused,
    Task,
    read_message,
    write_message,
)
from plugins.media.rgb import digest_of
from transports import tether
from transports.errors import InsufficientStorage, InvalidImage, MlxdError
from transports.pixels import write_shared

STDIN, STDOUT = 0, 1


def main() -> int:
    """Decode until stdin ends."""
    tether.kill_with_parent()
    # A terminal's Ctrl-C is for the frontend, and so is what its supervisor sends to its group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # What Pillow has to say of a picture is of no use to anybody.
    warnings.simplefilter("ignore")
    confinement.confine()
    encoded = int(sys.argv[1])
    while True:
        try:
            task, _ = read_message(STDIN, TASKS, max_bytes=0)
        except EOFError:
            return 0
        data = os.pread(encoded, task.num_bytes, 0)
        os.write(STDOUT, BEGUN)
        answer, pixels = answer_to(task, data, partial(confinement.start_time, task.cpu_s))
        del data
        confinement.stop_time()
        try:
            write_message(STDOUT, answer, pixels)
        except BrokenPipeError:
            return 0


def answer_to(task: Task, data: bytes, on_page: Callable[[], None]) -> tuple[Answer, list[bytes]]:
    """Do a task: the answer, and the pixels that go with it."""
    try:
        pages = list(decode(data, task, on_page))
    except MlxdError as e:
        return Refused(code=e.code, message=e.message), []
    except MemoryError:
        return Refused(code=InvalidImage.code, message="decoding it takes more memory than allowed"), []
    in_pipe: list[bytes] = []
    pictures = tuple(_put(page, task, name, in_pipe) for page, name in zip(pages, task.names, strict=False))
    return Decoded(pictures=pictures, num_pixels=sum(page.num_pixels for page in pages)), in_pipe


def _put(page: Page, task: Task, file_name: str, in_pipe: list[bytes]) -> Pixels:
    """Put the pixels into a file or, if they are few or there is no room, into *in_pipe*."""
    pixels = page.picture.tobytes()
    width, height = page.picture.size
    name = ""
    if task.folder and len(pixels) >= task.shared_from_bytes:
        try:
            name = write_shared(task.folder, pixels, task.max_shared_bytes, file_name)
        except InsufficientStorage:
            name = ""
    if not name:
        in_pipe.append(pixels)
    return Pixels(width=width, height=height, digest=digest_of(width, height, pixels), name=name)


if __name__ == "__main__":
    sys.exit(main())
