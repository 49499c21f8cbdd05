"""Pictures on the whole road, and the shared folder after whatever became of those who used it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from running import RunningKernel, StartKernel

from plugins.client import KernelClient, Submission
from plugins.launch import KernelProcess
from transports import rundir
from transports.errors import MlxdError, RemoteProtocolError, RequestTooLarge, WorkerCrashed
from transports.frames import Frame
from transports.messages import (
    ChatMessage,
    ChatRequest,
    Delta,
    FramePixels,
    Image,
    ImagePart,
    SharedPixels,
    TextPart,
)
from transports.pixels import write_shared
from transports.settings import KernelSettings, Settings

MIB = 1024 * 1024
RED, BLUE = b"\xff\0\0", b"\0\0\xff"
RED_BLUE = "2x1:ff0000-0000ff"

# A frontend that writes files, says so, and waits for its end.
VISITOR = """
import asyncio, sys
from plugins.client import KernelClient
from transports.pixels import write_shared

async def main():
    client = await KernelClient.connect(sys.argv[1], sys.argv[2], kind="visitor")
    for _ in range(3):
        write_shared(client.shared_folder, bytes(300_000), 2**30)
    print(client.shared_folder, flush=True)
    await client.lost.wait()

asyncio.run(main())
"""


def put(client: KernelClient, pixels: bytes = RED + BLUE) -> str:
    return write_shared(client.shared_folder, pixels, 64 * MIB)


def image(name: str | int, width: int = 2, height: int = 1) -> Image:
    pixels = FramePixels(buffer=name) if isinstance(name, int) else SharedPixels(name=name)
    return Image(width=width, height=height, digest=bytes(32), pixels=pixels)


def look(
    client: KernelClient,
    images: Sequence[Image],
    buffers: Sequence[Frame] = (),
    *,
    model: str = "echo/plain",
    text: str = "",
) -> Submission:
    """Ask what is to be seen on all images."""
    words = (TextPart(text=text),) if text else ()
    content = (*(ImagePart(image=index) for index in range(len(images))), *words)
    body = ChatRequest(messages=(ChatMessage(role="user", content=content),), images=tuple(images))
    return client.submit(task="chat", model=model, body=body, buffers=buffers)


async def seen(submission: Submission) -> str:
    async with submission:
        return "".join([update.text async for update in submission if isinstance(update, Delta)])


def files(client: KernelClient) -> list[Path]:
    return sorted(Path(client.shared_folder).iterdir())


async def until_alone(client: KernelClient) -> None:
    """Wait until nothing is in the shared folder but the folder of *client*."""
    own = Path(client.shared_folder)
    async with asyncio.timeout(15):
        while list(own.parent.iterdir()) != [own]:
            await asyncio.sleep(0.01)


async def start_visitors(kernel: RunningKernel, count: int) -> list[tuple[asyncio.subprocess.Process, Path]]:
    """Frontends in processes of their own, with files in their folders."""
    connection = kernel.process.connection
    command = (sys.executable, "-c", VISITOR, connection.endpoint, connection.token)
    visitors = []
    for _ in range(count):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        visitors.append(process)
    found = []
    for process in visitors:
        assert process.stdout
        found.append((process, Path((await process.stdout.readline()).decode().strip())))
    return found


# --- the good road --------------------------------------------------------------------------------


async def test_a_worker_sees_pictures_of_both_ways_in_their_order(kernel: RunningKernel) -> None:
    images = [image(0), image(put(kernel.client, BLUE + RED)), image(0)]

    answer = await seen(look(kernel.client, images, [RED + BLUE], text="three"))

    assert answer == f"{RED_BLUE} 2x1:0000ff-ff0000 {RED_BLUE} three"
    assert files(kernel.client) == []


async def test_a_large_picture_arrives_both_ways(kernel: RunningKernel) -> None:
    pixels = RED + bytes(3 * 4000 * 3000 - 6) + BLUE
    images = [image(0, 4000, 3000), image(put(kernel.client, pixels), 4000, 3000)]

    answer = await seen(look(kernel.client, images, [pixels]))

    assert answer == "4000x3000:ff0000-0000ff 4000x3000:ff0000-0000ff"


async def test_a_file_stays_until_all_that_name_it_have_ended(kernel: RunningKernel) -> None:
    """The choices of one request look at the same picture, and the last may wait long."""
    shown = [image(put(kernel.client))]
    first, *others = [look(kernel.client, shown, model="echo/narrow", text="a " * 20) for _ in range(3)]

    answers = [await seen(first)]
    assert len(files(kernel.client)) == 1
    answers += [await seen(one) for one in others]

    assert len(set(answers)) == 1
    assert files(kernel.client) == []


async def test_a_held_file_waits_for_who_names_it_later(kernel: RunningKernel) -> None:
    shown = [image(put(kernel.client))]
    with kernel.client.holding(shown):
        answers = [await seen(look(kernel.client, shown)) for _ in range(2)]

    assert len(set(answers)) == 1
    assert files(kernel.client) == []


# --- nothing is left ------------------------------------------------------------------------------


async def test_a_cancelled_request_leaves_no_file(kernel: RunningKernel) -> None:
    async with look(kernel.client, [image(put(kernel.client))], model="echo/slow", text="a " * 500) as answer:
        await anext(answer)
        assert files(kernel.client)

    assert files(kernel.client) == []


async def test_a_request_that_waits_and_is_cancelled_leaves_no_file(kernel: RunningKernel) -> None:
    running = look(kernel.client, [image(put(kernel.client))], model="echo/narrow", text="a " * 500)
    async with running:
        await anext(running)
        async with look(kernel.client, [image(put(kernel.client))], model="echo/narrow") as waiting:
            await anext(waiting)
            assert len(files(kernel.client)) == 2

    assert files(kernel.client) == []


async def test_requests_that_fail_leave_no_file(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(max_frame_bytes=100_000)
    wrong_size = look(kernel.client, [image(put(kernel.client), 3, 1)])
    no_model = look(kernel.client, [image(put(kernel.client))], model="echo/nowhere")
    too_large = look(kernel.client, [image(put(kernel.client)), image(0, 200, 200)], [bytes(120_000)])

    for failing in (wrong_size, no_model):
        with pytest.raises(MlxdError):
            await seen(failing)
    with pytest.raises(RequestTooLarge):
        await seen(too_large)

    assert files(kernel.client) == []


async def test_a_worker_that_dies_leaves_no_file_again_and_again(kernel: RunningKernel) -> None:
    for life in range(3):
        pid = await kernel.load("echo/slow")
        # Not the same requests again: they would be suspected of its death.
        asked = [
            look(
                kernel.client, [image(put(kernel.client))], model="echo/slow", text=f"{life}-{number} " * 500
            )
            for number in range(4)
        ]
        for submission in asked[:2]:
            await anext(submission)

        os.kill(pid, signal.SIGKILL)

        for submission in asked:
            with pytest.raises(WorkerCrashed):
                await seen(submission)
        assert files(kernel.client) == []


async def test_frontends_that_are_killed_leave_no_file(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(heartbeat_s=0.2, dead_after_s=2)
    visitors = await start_visitors(kernel, 3)
    folders = [folder for _, folder in visitors]
    assert all(len(list(folder.iterdir())) == 3 for folder in folders)

    for process, _ in visitors:
        process.kill()
        await process.wait()

    await until_alone(kernel.client)


async def test_a_frontend_that_leaves_leaves_no_file(kernel: RunningKernel) -> None:
    connection = kernel.process.connection
    for _ in range(10):
        client = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
        put(client)

        await client.close()

    await until_alone(kernel.client)


async def test_a_killed_kernel_leaves_files_to_nobody(home: Path) -> None:
    settings = Settings(kernel=KernelSettings(frontends=()))
    process = await KernelProcess.start(settings, home)
    kernel = RunningKernel(home, process, await KernelClient.connect(*_way_to(process), kind="test"))
    ((visitor, theirs),) = await start_visitors(kernel, 1)
    put(kernel.client)
    ours = Path(kernel.client.shared_folder)

    # First, or it would clear up when it hears that the kernel is gone.
    visitor.kill()
    await visitor.wait()
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    async with asyncio.timeout(2):
        await kernel.client.lost.wait()

    assert not ours.exists()
    assert theirs.exists()
    again = await KernelProcess.start(settings, home)
    assert not theirs.exists()
    again.drain()
    await again.wait()
    assert not ours.parent.exists()
    assert not rundir.locate(home).exists()


# --- lies -----------------------------------------------------------------------------------------


async def test_pictures_that_are_not_there_fail_alone(kernel: RunningKernel) -> None:
    pid = await kernel.load("echo/plain")
    connection = kernel.process.connection
    other = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
    theirs = put(other)
    mine = put(kernel.client)

    for name in (theirs, f"../{mine}", f"/{mine}", mine[:-1] + "x", "/etc/hostname"):
        with pytest.raises(RemoteProtocolError):
            await seen(look(kernel.client, [image(name)]))
    with pytest.raises(RemoteProtocolError):
        await seen(look(kernel.client, [image(1)], [RED + BLUE]))

    assert await seen(look(other, [image(theirs)])) == RED_BLUE
    assert await kernel.worker_pid("echo/plain") == pid
    await other.close()


async def test_an_image_part_without_an_image_fails_alone(kernel: RunningKernel) -> None:
    message = ChatMessage(role="user", content=(ImagePart(image=1),))
    body = ChatRequest(messages=(message,), images=(image(0),))

    with pytest.raises(RemoteProtocolError, match="expected one of 1 images"):
        await seen(kernel.client.submit(task="chat", model="echo/plain", body=body, buffers=[RED + BLUE]))


async def test_a_file_that_changes_while_it_is_read_harms_nobody(kernel: RunningKernel) -> None:
    """Whole, or an error; mapped into memory it would end the worker (SIGBUS)."""
    pid = await kernel.load("echo/plain")
    pixels = RED * 1_000_000
    is_over = threading.Event()

    def cut_and_mend() -> None:
        while not is_over.is_set():
            for path in files(kernel.client):
                try:
                    os.truncate(path, 10)
                    os.truncate(path, len(pixels))
                except FileNotFoundError:
                    continue

    vandal = threading.Thread(target=cut_and_mend)
    vandal.start()
    try:
        for _ in range(30):
            try:
                await seen(look(kernel.client, [image(put(kernel.client, pixels), 1000, 1000)]))
            except RemoteProtocolError:
                continue
    finally:
        is_over.set()
        vandal.join()

    assert await kernel.worker_pid("echo/plain") == pid
    assert files(kernel.client) == []


def _way_to(process: KernelProcess) -> tuple[str, str]:
    return process.connection.endpoint, process.connection.token
