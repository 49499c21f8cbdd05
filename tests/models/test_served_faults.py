"""What goes wrong inside a real model's process: each request has one end, and the next one works.

A tiny llama with random weights and the default model's tokenizer: what it says is noise, always the same
for a seed. One kernel for the module; its worker is killed again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import faults
import psutil
import pytest
import pytest_asyncio
from control_groups import control_group
from running import DEFAULT_MODEL, RunningKernel, run_kernel
from tiny_llama import write_tiny_llama

from plugins.client import Submission
from transports.errors import MlxdError, PoisonRequest, ShuttingDown, WorkerCrashed
from transports.messages import Delta, Done, Sampling
from transports.reports import Admin, DoneReply, WorkerInfo
from transports.settings import HttpSettings, KernelSettings, Settings, TextSettings

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]

MODEL = "tiny/llama"
ECHO = "echo/elsewhere"
DEAD_AFTER_S, HUNG_AFTER_S = 3.0, 3.0
SETTINGS = Settings(
    kernel=KernelSettings(
        heartbeat_s=0.2,
        dead_after_s=DEAD_AFTER_S,
        hung_after_s=HUNG_AFTER_S,
        prefill_hung_after_s=HUNG_AFTER_S,
        max_queued=400,
        # It is killed more often here than in a year.
        max_crashes=1000,
        max_start_crashes=1000,
        restart_first_delay_s=0.01,
        restart_max_delay_s=0.01,
    ),
    http=HttpSettings(port=0),
    text=TextSettings(num_slots=16, kv_cache_bytes=1 << 30),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, text_python: str, smollm2: Path) -> Path:
    """A private MLXD_HOME with the tiny model, and with an environment in which signals are faults."""
    home = tmp_path_factory.mktemp("faults") / "home"
    write_tiny_llama(home / "models" / MODEL, smollm2)
    (home / "models/demo").symlink_to(smollm2.parent)
    (home / "models" / ECHO).mkdir(parents=True)
    (home / "models" / ECHO / "config.json").write_text('{"model_type": "echo", "step_s": 0.005}')
    _shadow(Path(text_python).parents[1], home / "envs")
    return home


@pytest.fixture
def other_home(home: Path, tmp_path: Path) -> Path:
    """With the same models and environment, for a kernel that ends with its test."""
    other = tmp_path / "home"
    other.mkdir()
    for name in ("models", "envs"):
        (other / name).symlink_to(home / name)
    return other


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(home: Path) -> AsyncIterator[RunningKernel]:
    kernel = await run_kernel(SETTINGS, home)
    await kernel.load(MODEL)
    yield kernel
    await kernel.end()


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


class Stream:
    """A streamed chat over HTTP, of tokens without an end."""

    def __init__(self, http: aiohttp.ClientSession, url: str, prompt: str) -> None:
        self._http, self._url, self._prompt = http, url, prompt
        self.has_text = asyncio.Event()
        self.error = self.message = ""
        self.is_whole = False
        self.ended_s = 0.0

    async def read(self) -> None:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": self._prompt}],
            "stream": True,
            "max_tokens": 8000,
            "ignore_eos": True,
        }
        async with self._http.post(f"{self._url}/v1/chat/completions", json=body) as response:
            try:
                async for line in response.content:
                    self._take(line)
                self.is_whole = True
            except aiohttp.ClientPayloadError:
                # A stream that failed is not terminated: nobody may take it for a whole one.
                pass
        self.ended_s = time.monotonic()

    def _take(self, line: bytes) -> None:
        if not line.startswith(b"data: "):
            return
        assert line.strip() != b"data: [DONE]"
        event = json.loads(line[6:])
        if "error" in event:
            self.error, self.message = event["error"]["code"], event["error"]["message"]
        elif event["choices"][0]["delta"].get("content"):
            self.has_text.set()


async def worker(kernel: RunningKernel) -> WorkerInfo:
    return await until(kernel, lambda _: True)


async def until(
    kernel: RunningKernel, is_so: Callable[[WorkerInfo], bool], timeout_s: float = 30
) -> WorkerInfo:
    async with asyncio.timeout(timeout_s):
        while True:
            # There is none between an unload and the next load.
            for one in (await kernel.client.status()).workers:
                if one.model == MODEL and is_so(one):
                    return one
            await asyncio.sleep(0.01)


async def say(kernel: RunningKernel, prompt: str, seed: int = 1, num_tokens: int = 6) -> str:
    """The whole answer; raises the request's error."""
    async with ask(kernel, prompt, seed, num_tokens) as answer:
        return "".join([update.text async for update in answer if isinstance(update, Delta)])


def ask(
    kernel: RunningKernel, prompt: str, seed: int = 1, num_tokens: int = 8000, model: str = MODEL
) -> Submission:
    sampling = Sampling(temperature=1, seed=seed)
    return kernel.ask(
        prompt, model=model, sampling=sampling, max_tokens=num_tokens, ignore_eos=True, top_logprobs=0
    )


async def first_text(answer: Submission) -> None:
    async for update in answer:
        if isinstance(update, Delta):
            return


def strike(pid: int, fault: int) -> None:
    """A worker that does not run has pid 0, which is everybody."""
    assert pid > 0
    os.kill(pid, fault)


@pytest.mark.parametrize(
    ("fault", "code", "limit_s"),
    [
        (signal.SIGKILL, "worker_crashed", 2),
        (faults.ABORT, "worker_crashed", 2),
        (signal.SIGSTOP, "worker_hung", DEAD_AFTER_S + 3),
        (faults.HOLD_GIL, "worker_hung", DEAD_AFTER_S + 3),
        (faults.STAND_STILL, "worker_hung", HUNG_AFTER_S + 3),
    ],
    ids=["killed", "aborted by a thread", "stopped", "holding the GIL", "without progress"],
)
async def test_eight_streams_get_an_error_each_and_the_next_request_works(
    kernel: RunningKernel, http: aiohttp.ClientSession, fault: int, code: str, limit_s: float
) -> None:
    before = await until(kernel, lambda one: one.state == "ready")
    streams = [Stream(http, kernel.url, f"story {n} before {fault}") for n in range(8)]
    reading = asyncio.gather(*[stream.read() for stream in streams])
    await asyncio.gather(*[stream.has_text.wait() for stream in streams])
    strike(before.pid, fault)
    struck_s = time.monotonic()

    await reading

    assert [stream.error for stream in streams] == [code] * 8
    assert not any(stream.is_whole for stream in streams)
    assert max(stream.ended_s for stream in streams) - struck_s < limit_s
    assert await say(kernel, f"after {fault}")
    after = await worker(kernel)
    assert after.pid != before.pid
    assert not psutil.pid_exists(before.pid)


async def test_a_worker_killed_while_idle_comes_back_and_no_request_fails(kernel: RunningKernel) -> None:
    before = await until(kernel, lambda one: one.state == "ready" and one.num_active == 0)
    strike(before.pid, signal.SIGKILL)
    await until(kernel, lambda one: one.state != "ready")

    assert await say(kernel, "at once")
    assert (await worker(kernel)).num_restarts == before.num_restarts + 1


async def test_a_worker_killed_while_it_loads_is_started_again_and_the_request_waits(
    kernel: RunningKernel,
) -> None:
    await kernel.client.admin("unload", Admin(model=MODEL), DoneReply)
    waiting = asyncio.create_task(say(kernel, "while it loads"))
    loading = await until(kernel, lambda one: one.state == "loading" and one.pid > 0)
    strike(loading.pid, signal.SIGKILL)

    assert await waiting


@pytest.mark.skipif(sys.platform != "linux", reason="macOS takes no such limit of address space")
async def test_without_memory_streams_fail_and_with_memory_the_next_works(
    kernel: RunningKernel, http: aiohttp.ClientSession
) -> None:
    pid = (await until(kernel, lambda one: one.state == "ready")).pid
    streams = [Stream(http, kernel.url, f"story {n} without memory") for n in range(8)]
    reading = asyncio.gather(*[stream.read() for stream in streams])
    await asyncio.gather(*[stream.has_text.wait() for stream in streams])
    strike(pid, faults.LIMIT_MEMORY)
    # Reading a prompt takes what there is not.
    with contextlib.suppress(MlxdError):
        await say(kernel, "word " * 7000)
    await reading
    if psutil.pid_exists(pid):
        strike(pid, faults.LIMIT_MEMORY)

    assert {stream.error for stream in streams} <= {"worker_crashed", "out_of_memory"}
    assert await say(kernel, "with memory again")


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
async def test_when_the_system_kills_it_for_memory_that_is_said(
    kernel: RunningKernel, http: aiohttp.ClientSession
) -> None:
    pid = (await until(kernel, lambda one: one.state == "ready")).pid
    streams = [Stream(http, kernel.url, f"story {n} in little memory") for n in range(8)]
    reading = asyncio.gather(*[stream.read() for stream in streams])
    await asyncio.gather(*[stream.has_text.wait() for stream in streams])

    with control_group("memory", {"memory.max": 64 << 20}) as members:
        members.write_text(str(pid))
        strike(pid, faults.EAT_MEMORY)
        await reading

    assert [stream.error for stream in streams] == ["worker_crashed"] * 8
    assert all("sent by the system because memory ran out" in stream.message for stream in streams)
    assert await say(kernel, "with memory again")


async def test_a_failed_allocation_changes_no_answer(kernel: RunningKernel) -> None:
    expected = [await say(kernel, "one by one", seed, 40) for seed in range(4)]
    pid = (await worker(kernel)).pid
    begun = [asyncio.Event() for _ in range(4)]

    async def say_aloud(seed: int) -> str:
        text = ""
        async with ask(kernel, "one by one", seed, 40) as answer:
            async for update in answer:
                if isinstance(update, Delta):
                    text += update.text
                    begun[seed].set()
        return text

    answers = asyncio.gather(*[say_aloud(seed) for seed in range(4)])
    # All are in the batch: one that is alone in it when memory ends fails.
    for one in begun:
        await one.wait()
    strike(pid, faults.FAIL_ALLOCATION)

    assert await answers == expected
    assert (await worker(kernel)).pid == pid


@pytest.mark.parametrize("lie", faults.LIES, ids=[lie.__name__ for lie in faults.LIES.values()])
async def test_a_worker_that_lies_harms_its_own_requests_at_most(kernel: RunningKernel, lie: int) -> None:
    """Row 47. Four in one batch, whose ends come together; an answer of its seed shows whose it is."""
    seeds = range(4)
    expected = [await say(kernel, "one by one", seed) for seed in seeds]
    elsewhere = asyncio.create_task(kernel.say("word " * 200, model=ECHO))
    pid = (await worker(kernel)).pid
    strike(pid, lie)

    async with asyncio.timeout(30):
        said = await asyncio.gather(*[answer_or_code(kernel, "one by one", seed) for seed in seeds])

    if lie == faults.LEAVE_OUT_THE_END:
        assert set(said) - set(expected) == {"worker_error"}
    else:
        assert set(said) - set(expected) <= {"worker_crashed"}
        # It is not trusted any more.
        await until(kernel, lambda one: one.pid != pid)
    assert not [text for text, own in zip(said, expected, strict=True) if text in expected and text != own]
    assert await elsewhere == "word " * 199 + "word"
    assert [await say(kernel, "one by one", seed) for seed in seeds] == expected


async def answer_or_code(kernel: RunningKernel, prompt: str, seed: int) -> str:
    """The whole answer, or how it failed."""
    try:
        return await say(kernel, prompt, seed)
    except MlxdError as e:
        return e.code


async def test_a_request_that_ends_two_workers_does_not_reach_a_third(kernel: RunningKernel) -> None:
    for _ in range(2):
        async with ask(kernel, "poison") as poison:
            await first_text(poison)
            strike((await worker(kernel)).pid, signal.SIGKILL)
            with pytest.raises(WorkerCrashed):
                [update async for update in poison]
    before = await until(kernel, lambda one: one.state == "ready")

    async with ask(kernel, "poison") as poison:
        with pytest.raises(PoisonRequest):
            await anext(poison)

    assert await say(kernel, "harmless")
    assert (await worker(kernel)).num_restarts == before.num_restarts


async def test_after_a_cancel_at_most_eight_tokens_are_computed(kernel: RunningKernel) -> None:
    """The default model, whose steps take as long as a small model's do."""
    await kernel.load(DEFAULT_MODEL)
    late: list[int] = []
    for num_wanted in (1, 3, 8):
        async with ask(kernel, f"cancelled after {num_wanted}", model=DEFAULT_MODEL) as answer:
            num_tokens = 0
            async for update in answer:
                if isinstance(update, Delta):
                    num_tokens += len(update.logprobs)
                    if num_tokens >= num_wanted:
                        answer.cancel()
                        break
            (done,) = [update async for update in answer if isinstance(update, Done)]
        assert done.finish_reason == "cancelled"
        late.append(done.usage.completion_tokens - num_tokens)

    assert max(late) <= 8


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["sent", "queued", "prefill", "decode"])
async def test_a_client_that_goes_away_frees_its_slot(
    kernel: RunningKernel, http: aiohttp.ClientSession, phase: str, stream: bool
) -> None:
    await until(kernel, lambda one: one.state == "ready" and one.num_active == 0)
    num_slots = SETTINGS.text.num_slots
    others = [asyncio.create_task(say(kernel, "other", seed, 8000)) for seed in range(num_slots)]
    if phase == "queued":
        await until(kernel, lambda one: one.num_active == num_slots)
    else:
        for other in others:
            other.cancel()
        await until(kernel, lambda one: one.num_active == 0)
    content = "word " * 7000 if phase == "prefill" else "gone"
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "stream": stream,
        "max_tokens": 900,
        "ignore_eos": True,
    }
    reading = asyncio.create_task(_read(http, kernel.url, body))
    if phase == "queued":
        await until(kernel, lambda one: one.num_queued == 1)
    elif phase == "prefill":
        await until(kernel, lambda one: one.num_active == 1)
    elif phase == "decode":
        await until(kernel, lambda one: one.num_active == 1)
        await asyncio.sleep(0.2)

    reading.cancel()
    gone_s = time.monotonic()
    await asyncio.gather(reading, return_exceptions=True)
    expected = num_slots if phase == "queued" else 0
    await until(kernel, lambda one: (one.num_active, one.num_queued) == (expected, 0), timeout_s=5)
    freed_s = time.monotonic() - gone_s
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)

    assert freed_s < 1


async def test_a_truncated_download_fails_with_its_name_and_others_serve_on(
    kernel: RunningKernel, home: Path
) -> None:
    whole, cut = home / "models" / MODEL, home / "models/tiny/cut"
    cut.mkdir()
    for file in whole.iterdir():
        (cut / file.name).write_bytes(file.read_bytes())
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    started_s = time.monotonic()

    with pytest.raises(MlxdError, match=r"model\.safetensors: .*truncated"):
        await kernel.client.admin("load", Admin(model="tiny/cut"), DoneReply)

    assert time.monotonic() - started_s < 2
    assert await say(kernel, "beside a broken one")


async def test_two_hundred_at_once_get_their_own_answers_while_the_worker_is_killed(
    kernel: RunningKernel,
) -> None:
    """Equal prompts, each with a seed of its own: an answer shows whose it is."""
    seeds = range(200)
    expected = await asyncio.gather(*[say(kernel, "marker", seed) for seed in seeds])
    assert len(set(expected)) == 200

    answers = [asyncio.create_task(answer_or_code(kernel, "marker", seed)) for seed in seeds]
    for _ in range(2):
        pid = (await until(kernel, lambda one: one.state == "ready" and one.num_active > 0)).pid
        strike(pid, signal.SIGKILL)
        await until(kernel, lambda one, pid=pid: one.pid != pid)  # type: ignore[misc]
    said = await asyncio.gather(*answers)

    errors = [text for text in said if text in ("worker_crashed", "poison_request")]
    own = sum(text == own for text, own in zip(said, expected, strict=True))
    assert own + len(errors) == 200
    assert len(errors) <= 2 * SETTINGS.text.num_slots


async def test_after_sigterm_streams_finish_and_nobody_new_is_taken(other_home: Path) -> None:
    kernel = await run_kernel(SETTINGS, other_home)
    await kernel.load(MODEL)
    streams = [asyncio.create_task(say(kernel, f"draining {n}", num_tokens=120)) for n in range(8)]
    await until(kernel, lambda one: one.num_active == 8)

    os.kill(kernel.pid, signal.SIGTERM)
    with pytest.raises(ShuttingDown):
        while True:
            # Until the signal has arrived.
            await say(kernel, "one more", num_tokens=1)
    num_running = sum(not stream.done() for stream in streams)
    texts = await asyncio.gather(*streams)

    assert num_running == 8
    assert all(texts)
    assert await kernel.process.wait() == 0
    assert await kernel.end() == 0


async def test_with_the_kernel_all_ends_and_the_next_one_starts(other_home: Path) -> None:
    kernel = await run_kernel(SETTINGS, other_home)
    pid = await kernel.load(MODEL)
    streams = [asyncio.create_task(say(kernel, f"orphaned {n}")) for n in range(8)]
    await until(kernel, lambda one: one.num_active == 8)
    family = psutil.Process(kernel.pid).children(recursive=True)
    assert pid in [process.pid for process in family]

    os.kill(kernel.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    ends = await asyncio.gather(*streams, return_exceptions=True)
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 2)
    started = await run_kernel(SETTINGS, other_home)
    started_s = time.monotonic()
    answer = await say(started, "after all that")
    await kernel.end()
    await started.end()

    assert alive == []
    assert {type(end).__name__ for end in ends} == {"KernelUnavailable"}
    assert started_s - killed_s < 5
    assert answer


async def _read(http: aiohttp.ClientSession, url: str, body: dict[str, object]) -> None:
    async with http.post(f"{url}/v1/chat/completions", json=body) as response:
        await response.read()


# --- what is in the home ------------------------------------------------------------------


def _shadow(environment: Path, envs: Path) -> None:
    """The same environment, and the faults in it."""
    shadow = envs / environment.name
    shadow.mkdir(parents=True)
    for entry in environment.iterdir():
        if entry.name != "lib":
            (shadow / entry.name).symlink_to(entry)
    (packages,) = environment.glob("lib/python3*/site-packages")
    shadow_packages = shadow / packages.relative_to(environment)
    shadow_packages.mkdir(parents=True)
    for entry in packages.iterdir():
        (shadow_packages / entry.name).symlink_to(entry)
    (shadow_packages / "sitecustomize.py").symlink_to(faults.__file__)
