"""The media intake with real decode processes: whatever a file does to one, a request gets an answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from pdf_files import EMPTY_PAGE, pdf_of
from pictures import data_url, encoded, png
from PIL import Image

from plugins.media.confinement import NICENESS
from plugins.media.intake import MediaIntake
from plugins.media.picture import Source
from transports.errors import (
    CapacityError,
    InvalidImage,
    MlxdError,
    RequestTooLarge,
    ShuttingDown,
    UnsupportedMediaType,
)
from transports.settings import MediaSettings

PATH = "messages[0].content[1].image_url"
HALF_A_SECOND = pdf_of([b"0 0 m 200 190 l 3 200 l f\n" * 500], filters=b"")
RED = png(Image.new("RGB", (8, 4), (255, 0, 0)))
# Draws for more than a minute; 7 kB as it is sent.
ENDLESS = pdf_of([zlib.compress(b"0 0 m 200 190 l 3 200 l f\n" * 100_000, 9)], filters=b"/FlateDecode")
# The decoder is nice: on a busy machine it waits for all others.
WAIT_S = 60

OpenIntake = Callable[..., MediaIntake]


def source(content: bytes | memoryview | str = RED, path: str = PATH, **fields: object) -> Source:
    return Source(content=content, path=path, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def open_intake(tmp_path: Path) -> AsyncIterator[OpenIntake]:
    """Open intakes; keyword arguments are fields of MediaSettings. None may leave a file or a process."""
    intakes: list[MediaIntake] = []
    folder = tmp_path / "6d"
    folder.mkdir()

    def open_(*, shared: bool = False, **fields: object) -> MediaIntake:
        settings = MediaSettings(**fields)  # type: ignore[arg-type]
        intakes.append(MediaIntake(settings, str(folder) if shared else ""))
        return intakes[-1]

    yield open_
    for intake in intakes:
        pids = intake.decoder_pids
        await intake.close()
        assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not list(folder.iterdir()), "a shared file is still there"


@pytest.fixture
def intake(open_intake: OpenIntake) -> MediaIntake:
    return open_intake(num_decoders=1, max_image_side=512)


async def refusal(intake: MediaIntake, *sources: Source) -> MlxdError:
    with pytest.raises(MlxdError) as caught:
        await intake.pictures(sources)
    return caught.value


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that nobody tells us."""
    async with asyncio.timeout(WAIT_S):
        while not is_so():
            await asyncio.sleep(0.01)


async def start_endless(intake: MediaIntake) -> tuple[asyncio.Task[object], psutil.Process]:
    """Have something decoded that takes for ever; returns when that has begun."""
    await intake.pictures([source()])
    process = psutil.Process(intake.decoder_pids[-1])
    before = _cpu_s(process)
    task: asyncio.Task[object] = asyncio.create_task(intake.pictures([source(ENDLESS)]))
    await until(lambda: _cpu_s(process) > before + 0.05)
    return task, process


async def next_process(intake: MediaIntake, before: psutil.Process) -> psutil.Process:
    """The process that works on what ended *before*, once it does."""
    await until(lambda: bool(set(intake.decoder_pids) - {before.pid}))
    (pid,) = set(intake.decoder_pids) - {before.pid}
    process = psutil.Process(pid)
    start_s = _cpu_s(process)
    await until(lambda: _cpu_s(process) > start_s + 0.3)
    return process


# --- what comes out ---------------------------------------------------------------------------


async def test_a_picture_comes_as_its_pixels(intake: MediaIntake) -> None:
    ((picture,),) = await intake.pictures([source()])

    assert (picture.width, picture.height, picture.pixels) == (8, 4, bytes((255, 0, 0)) * 32)
    assert len(picture.digest) == 32


async def test_each_source_has_its_own_list(intake: MediaIntake) -> None:
    document = pdf_of([EMPTY_PAGE] * 3)

    sources = [source(), source(document), source(data_url(RED)), source(memoryview(RED))]
    results = await intake.pictures(sources)

    assert [len(pictures) for pictures in results] == [1, 3, 1, 1]
    assert results[0] == results[2] == results[3]


async def test_no_sources_are_no_pictures(intake: MediaIntake) -> None:
    assert await intake.pictures([]) == []
    assert intake.decoder_pids == []


async def test_detail_sets_the_size(intake: MediaIntake) -> None:
    data = png(Image.new("RGB", (2000, 1000)))

    results = await intake.pictures([source(data, detail=d) for d in ("high", "auto", "low")])

    assert [picture.width for (picture,) in results] == [512, 512, 256]


async def test_large_pixels_lie_in_a_file(open_intake: OpenIntake, tmp_path: Path) -> None:
    intake = open_intake(shared=True, max_image_side=512, shared_memory_bytes=1000)
    large = Image.effect_noise((100, 50), 80).convert("RGB")

    (small_one,), (large_one,) = await intake.pictures([source(), source(png(large))])

    assert isinstance(small_one.pixels, bytes)
    assert isinstance(large_one.pixels, str)
    file = tmp_path / large_one.pixels
    assert file.read_bytes() == large.tobytes()
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()


async def test_without_room_for_files_pixels_come_by_the_pipe(open_intake: OpenIntake) -> None:
    intake = open_intake(shared=True, max_image_side=512, shared_memory_bytes=1000, max_shared_bytes=1000)

    ((picture,),) = await intake.pictures([source(png(Image.new("RGB", (100, 50))))])

    assert picture.pixels == bytes(100 * 50 * 3)


# --- limits of a request ----------------------------------------------------------------------


async def test_nothing_of_the_picture_before_is_left(open_intake: OpenIntake) -> None:
    """The file in memory that both go through keeps its length."""
    intake = open_intake(num_decoders=1)
    whole = encoded(Image.effect_noise((200, 200), 100), "PNG")

    await intake.pictures([source(whole)])

    with pytest.raises(InvalidImage, match="cut short"):
        await intake.pictures([source(whole[:-30])])


async def test_too_many_pictures_name_the_first_that_is_over(open_intake: OpenIntake) -> None:
    intake = open_intake(max_images=2)

    error = await refusal(intake, *(source(path=f"images[{i}]") for i in range(4)))

    assert (error.http_status, error.param) == (400, "images[2]")
    assert "at most 2" in error.message
    assert intake.decoder_pids == [], "nothing was decoded"


async def test_pages_count_as_pictures(open_intake: OpenIntake) -> None:
    intake = open_intake(max_images=4)
    three_pages = pdf_of([EMPTY_PAGE] * 3)

    assert len(await intake.pictures([source(), source(three_pages)])) == 2
    error = await refusal(intake, source(), source(), source(three_pages, path="the document"))
    assert (error.http_status, error.param) == (400, "the document")
    error = await refusal(intake, source(three_pages), source(three_pages))
    assert "got 6" in error.message or "got 3" in error.message


async def test_pixels_are_counted_over_the_request(open_intake: OpenIntake) -> None:
    intake = open_intake(max_total_pixels=20_000, shared=True, shared_memory_bytes=1000)
    data = png(Image.new("RGB", (100, 100)))

    error = await refusal(intake, *(source(data) for _ in range(3)))

    assert isinstance(error, InvalidImage)
    assert "20000" in error.message
    assert "30000" in error.message


async def test_a_file_over_its_limit_is_413(open_intake: OpenIntake) -> None:
    intake = open_intake(max_file_bytes=len(RED))

    assert await intake.pictures([source()])
    for content in (RED + b"\0", data_url(RED + bytes(3))):
        error = await refusal(intake, source(content))
        assert isinstance(error, RequestTooLarge)
        assert error.param == PATH


async def test_one_bad_picture_ends_the_request_and_names_its_place(open_intake: OpenIntake) -> None:
    intake = open_intake(num_decoders=1, shared=True, shared_memory_bytes=0)

    error = await refusal(intake, source(path="first"), source(RED[:-5], path="second"))

    assert (error.http_status, error.param) == (400, "second")
    assert error.message.startswith("second: ")


async def test_another_format_is_415(intake: MediaIntake) -> None:
    error = await refusal(intake, source(b"<svg/>"))

    assert isinstance(error, UnsupportedMediaType)
    assert (error.http_status, error.param) == (415, PATH)


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
async def test_a_file_that_crashes_its_process_is_refused(
    intake: MediaIntake, number: signal.Signals
) -> None:
    """G13; the next one is decoded by a new process."""
    task, process = await start_endless(intake)
    process.send_signal(number)
    (await next_process(intake, process)).send_signal(number)

    with pytest.raises(InvalidImage, match=number.name) as caught:
        await task

    assert caught.value.param == PATH
    assert await intake.pictures([source()])
    assert process.pid not in intake.decoder_pids


async def test_a_process_killed_over_a_picture_is_not_the_pictures_fault(intake: MediaIntake) -> None:
    await intake.pictures([source()])
    process = psutil.Process(intake.decoder_pids[-1])
    before_s = _cpu_s(process)
    task = asyncio.create_task(intake.pictures([source(HALF_A_SECOND)]))
    await until(lambda: _cpu_s(process) > before_s + 0.1)
    process.kill()

    assert await task


async def test_others_do_not_notice_a_crash(open_intake: OpenIntake) -> None:
    intake = open_intake(num_decoders=2, max_image_side=512)
    task, process = await start_endless(intake)

    others = [asyncio.create_task(intake.pictures([source()])) for _ in range(8)]
    process.kill()

    assert all(await asyncio.gather(*others))
    task.cancel()
    await asyncio.wait([task])


async def test_a_process_killed_between_pictures_is_nobodys_fault(intake: MediaIntake) -> None:
    await intake.pictures([source()])
    (pid,) = intake.decoder_pids
    os.kill(pid, signal.SIGKILL)

    assert await intake.pictures([source()])


async def test_a_file_that_takes_too_long_is_refused(open_intake: OpenIntake) -> None:
    intake = open_intake(num_decoders=1, decode_cpu_s=1, max_image_side=512)
    start = time.monotonic()

    error = await refusal(intake, source(ENDLESS))

    assert isinstance(error, InvalidImage)
    assert "1 s (media.decode_cpu_s)" in error.message
    assert time.monotonic() - start < WAIT_S
    assert await intake.pictures([source()])


async def test_each_picture_has_its_own_time(open_intake: OpenIntake) -> None:
    """The system counts over the life of a process."""
    intake = open_intake(num_decoders=1, decode_cpu_s=1, max_image_side=512)

    for _ in range(4):
        assert await intake.pictures([source(HALF_A_SECOND)])


async def test_a_client_that_goes_away_frees_the_process_at_once(open_intake: OpenIntake) -> None:
    intake = open_intake(num_decoders=1, max_image_side=512, decode_cpu_s=600, shared=True)
    task, process = await start_endless(intake)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    process.wait(WAIT_S)
    assert await discarded(intake, [source()]) == 1


async def test_closing_ends_what_is_decoded(open_intake: OpenIntake) -> None:
    intake = open_intake(num_decoders=1, max_image_side=512, decode_cpu_s=600)
    task, process = await start_endless(intake)

    await intake.close()

    process.wait(WAIT_S)
    with pytest.raises(ShuttingDown):
        await task


async def test_no_more_wait_than_there_is_room_for(
    intake: MediaIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.media.decode_pool.MAX_WAITING", 2)
    endless, _ = await start_endless(intake)
    waiting = [asyncio.create_task(intake.pictures([source()])) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    error = await refusal(intake, source())

    assert isinstance(error, CapacityError)
    for task in (endless, *waiting):
        task.cancel()
    await asyncio.wait((endless, *waiting))


async def test_a_bomb_takes_no_memory(intake: MediaIntake) -> None:
    """G2: 13,000 x 13,000 pixels in 20 kB are 500 MB as RGB."""
    await intake.pictures([source()])
    process = psutil.Process(intake.decoder_pids[0])
    before = process.memory_info().rss

    error = await refusal(intake, source(encoded(Image.new("1", (13_000, 13_000)), "PNG")))

    assert "13000 x 13000" in error.message
    assert process.memory_info().rss - before < 20_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="macOS takes no such limit of address space")
async def test_memory_has_an_end(open_intake: OpenIntake) -> None:
    """A person may allow more pixels than fit."""
    intake = open_intake(num_decoders=1, max_image_pixels=10**9, max_image_side=512)
    huge = encoded(Image.new("L", (16_000, 16_000)), "PNG", transparency=0)

    error = await refusal(intake, source(huge))

    assert isinstance(error, InvalidImage)
    assert "memory" in error.message
    assert await intake.pictures([source()])


# --- the process ------------------------------------------------------------------------------


async def test_processes_start_when_needed_and_no_more_than_allowed(open_intake: OpenIntake) -> None:
    intake = open_intake(num_decoders=2)

    assert intake.decoder_pids == []
    await intake.pictures([source()])
    assert len(intake.decoder_pids) == 1
    await asyncio.gather(*(intake.pictures([source()] * 3) for _ in range(4)))
    assert len(intake.decoder_pids) == 2


async def test_a_process_knows_no_secrets(intake: MediaIntake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    await intake.pictures([source()])

    process = psutil.Process(intake.decoder_pids[0])
    assert "HF_TOKEN" not in process.environ()
    assert process.cmdline()[1:4] == ["-P", "-m", "plugins.media.decoder"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_the_group_are_for_the_frontend(intake: MediaIntake, number: signal.Signals) -> None:
    await intake.pictures([source()])
    (pid,) = intake.decoder_pids
    os.kill(pid, number)

    assert await intake.pictures([source()])
    assert intake.decoder_pids == [pid]


ORPHANER = """
import asyncio, sys
from plugins.media.intake import MediaIntake
from plugins.media.picture import Source
from transports.settings import MediaSettings

async def main():
    intake = MediaIntake(MediaSettings(num_decoders=2, decode_cpu_s=600, max_image_side=512), "")
    data = sys.stdin.buffer.read()
    split = int(sys.argv[1])
    task = asyncio.create_task(intake.pictures([Source(content=data[:split], path="endless")]))
    await intake.pictures([Source(content=data[split:], path="picture")])
    print(*intake.decoder_pids, flush=True)
    await task

asyncio.run(main())
"""


async def test_no_process_outlives_a_frontend_that_is_killed() -> None:
    """Neither one that waits nor one that decodes."""
    frontend = subprocess.Popen(
        [sys.executable, "-c", ORPHANER, str(len(ENDLESS))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert frontend.stdin
    assert frontend.stdout
    frontend.stdin.write(ENDLESS + RED)
    frontend.stdin.close()
    decoders = [psutil.Process(int(pid)) for pid in frontend.stdout.readline().split()]
    assert len(decoders) == 2

    frontend.kill()
    frontend.wait()
    frontend.stdout.close()

    _, alive = psutil.wait_procs(decoders, WAIT_S)
    assert alive == []


def test_a_frontend_never_loads_an_image_library() -> None:
    """Nor changes what Pillow checks: it is in the decode process only."""
    code = "import sys, plugins.media.intake; print([m for m in ('PIL', 'pypdfium2') if m in sys.modules])"

    loaded = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True, text=True)

    assert loaded.stdout.strip() == "[]"


CONFINED = """
import os, resource, socket, subprocess
from plugins.media.confinement import confine
confine()
def refused(call):
    try:
        call()
    except PermissionError:
        return True
    return False
print(refused(lambda: socket.socket()), refused(lambda: socket.socketpair()),
      refused(lambda: os.execv("/bin/true", ["true"])), resource.getrlimit(resource.RLIMIT_CORE)[0])
"""


async def test_decoding_yields_to_all_sessions(intake: MediaIntake) -> None:
    await intake.pictures([source()])
    (pid,) = intake.decoder_pids

    shares = Path(f"/proc/{pid}/autogroup")

    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    if shares.exists():  # Not on every system.
        assert shares.read_text().split()[-1] == str(NICENESS)
        assert os.getsid(pid) == pid


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_what_is_confined_has_no_network_and_starts_no_program() -> None:
    told = subprocess.run([sys.executable, "-P", "-c", CONFINED], capture_output=True, check=True, text=True)

    assert told.stdout.split() == ["True", "True", "True", "0"]


async def discarded(intake: MediaIntake, sources: list[Source]) -> int:
    """Decode, and remove the files; how many pictures there were."""
    pictures = [picture for one in await intake.pictures(sources) for picture in one]
    intake.discard(pictures)
    return len(pictures)


def _cpu_s(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
