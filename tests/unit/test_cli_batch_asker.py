"""A batch goes on after a bad file, waits for room, and ends when nothing can be asked any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from plugins.cli import batch
from plugins.cli.answer import Answer
from plugins.cli.batch import MAX_TRIES, Plan
from plugins.cli.batch_view import BatchView
from plugins.cli.results import Result, Results
from plugins.client import KernelClient
from plugins.media.intake import MediaIntake
from plugins.media.picture import Picture, Source
from plugins.submit_terms import SubmitTerms
from transports.errors import (
    InsufficientStorage,
    InvalidImage,
    KernelUnavailable,
    MlxdError,
    ModelUnavailable,
    QueueFull,
    ShuttingDown,
    WorkerCrashed,
)
from transports.messages import ChatMessage, ChatRequest, Done, Usage, Welcome

PLAN = Plan(
    model="demo/eyes",
    request=ChatRequest(messages=(ChatMessage(role="user", content="what?"),)),
    pages="",
    files=("a.png", "b.png", "c.png"),
    out=Path("out.jsonl"),
    concurrency=1,
    terms=SubmitTerms(),
)


class Asker(batch._Asker):
    """Asks a script instead of a kernel."""

    def __init__(self, script: Callable[[str], MlxdError | None]) -> None:
        super().__init__(PLAN, cast(KernelClient, None), cast(MediaIntake, None), 100)
        self._script = script
        self.asked: list[str] = []

    async def _ask(self, file: batch._File) -> Answer:
        self.asked.append(file.name)
        if error := self._script(file.name):
            raise error
        answer = Answer()
        answer.text = "red"
        usage = Usage(prompt_tokens=1, completion_tokens=1)
        answer.done = Done(id="x" * 8, finish_reason="stop", usage=usage)
        return answer


def files() -> Iterator[batch._File]:
    return iter([batch._File(Path(name), name, name) for name in PLAN.files])


class Kept:
    """Results in memory."""

    def __init__(self) -> None:
        self.lines: list[Result] = []

    def append(self, result: Result) -> None:
        self.lines.append(result)


async def work(asker: Asker, concurrency: int = 1) -> list[Result]:
    kept = Kept()
    view = BatchView(len(PLAN.files), is_live=False)
    await batch._work_through(files(), concurrency, asker, cast(Results, kept), view)
    return kept.lines


@pytest.mark.parametrize("error", [InvalidImage("b.png: truncated"), WorkerCrashed("ended")])
async def test_a_bad_file_costs_itself_alone(error: MlxdError) -> None:
    results = await work(Asker(lambda name: error if name == "b.png" else None))

    assert [(result.file, result.answer) for result in results] == [
        ("a.png", "red"),
        ("b.png", None),
        ("c.png", "red"),
    ]
    assert results[1].error
    assert results[1].error.code == error.code


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize(
    "error", [KernelUnavailable("gone"), ModelUnavailable("broken"), ShuttingDown("end")]
)
async def test_what_would_end_every_file_ends_the_batch(error: MlxdError, concurrency: int) -> None:
    asker = Asker(lambda _: error)

    with pytest.raises(type(error)):
        await work(asker, concurrency)
    assert len(asker.asked) <= concurrency


async def test_a_full_queue_is_waited_for() -> None:
    full: list[MlxdError] = [QueueFull("full", retry_after_s=0.001)] * 2
    asker = Asker(lambda _: full.pop() if full else None)

    results = await work(asker)

    assert asker.asked == ["a.png", "a.png", "a.png", "b.png", "c.png"]
    assert all(result.answer == "red" for result in results)


async def test_a_queue_that_stays_full_is_an_error_of_the_file() -> None:
    asker = Asker(lambda name: QueueFull("full", retry_after_s=0.001) if name == "a.png" else None)

    results = await work(asker)

    assert asker.asked.count("a.png") == MAX_TRIES
    assert results[0].error
    assert results[0].error.code == "queue_full"


def test_what_is_asked_makes_the_digest() -> None:
    other = ChatRequest(messages=PLAN.request.messages, max_tokens=7)

    digests = {
        PLAN.digest,
        Plan(**{**_fields(), "request": other}).digest,
        Plan(**{**_fields(), "pages": "2"}).digest,
    }
    assert len(digests) == 3
    assert Plan(**{**_fields(), "concurrency": 9, "files": ()}).digest == PLAN.digest


def _fields() -> dict[str, object]:
    return {name: getattr(PLAN, name) for name in Plan.__dataclass_fields__}


async def test_files_of_pictures_that_cannot_be_sent_are_removed(tmp_path: Path) -> None:
    """One found room in shared memory; the other did not, and is too large for a message."""
    shared = Picture(width=1, height=1, digest=b"1" * 32, pixels="peer/file")
    large = Picture(width=1, height=1, digest=b"2" * 32, pixels=bytes(3))
    intake = Intake([shared, large])
    welcome = Welcome(kernel_version="", heartbeat_s=1, dead_after_s=5, max_frame_bytes=2, max_frames=40)
    client = SimpleNamespace(welcome=welcome)
    (tmp_path / "a.png").write_bytes(b"x")
    asker = batch._Asker(PLAN, cast(KernelClient, client), cast(MediaIntake, intake), 100)

    with pytest.raises(InsufficientStorage):
        await asker._ask(batch._File(tmp_path / "a.png", "a.png", ""))
    assert intake.discarded == [shared, large]


class Intake:
    """Decodes every file to the same pictures."""

    def __init__(self, decoded: list[Picture]) -> None:
        self._decoded = decoded
        self.discarded: list[Picture] = []

    async def pictures(self, sources: Sequence[Source]) -> list[list[Picture]]:
        return [self._decoded for _ in sources]

    def discard(self, pictures: Sequence[Picture]) -> None:
        self.discarded += pictures
