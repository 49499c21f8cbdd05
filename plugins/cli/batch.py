"""The same question about each of many files: `mlxd run --each`. Goes on after a bad file."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from plugins.cli import session
from plugins.cli.answer import Answer
from plugins.cli.attachments import is_document, read_file
from plugins.cli.batch_files import digest_of, label
from plugins.cli.batch_view import BatchView
from plugins.cli.exits import FAILED
from plugins.cli.picture_messages import about
from plugins.cli.pictures import open_intake, submit, take_in
from plugins.cli.results import Result, ResultFailure, Results, ResultsError
from plugins.client import KernelClient
from plugins.image_models import check_takes_images
from plugins.media.picture import Source
from plugins.submit_terms import SubmitTerms
from plugins.thinking_models import check_thinks
from transports.config import resolve
from transports.errors import (
    CapacityError,
    EnvironmentFailed,
    KernelUnavailable,
    MlxdError,
    ModelNotFound,
    ModelUnavailable,
    ShuttingDown,
)
from transports.messages import ChatRequest

if TYPE_CHECKING:
    from plugins.media.intake import MediaIntake

# While others fill the queue: tried so often, and again after so long if the kernel does not say, seconds.
MAX_TRIES = 10
RETRY_S = 1.0
# The next file would end the same way.
FATAL = (KernelUnavailable, ShuttingDown, ModelNotFound, ModelUnavailable, EnvironmentFailed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a batch is to do."""

    model: str
    # Its last message is the question, without the pictures.
    request: ChatRequest
    # Of documents.
    pages: str
    files: tuple[str, ...]
    out: Path
    # Files at a time.
    concurrency: int
    terms: SubmitTerms

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked about each file."""
        return hashlib.sha256(msgspec.json.encode((self.request, self.pages))).hexdigest()


class _File(NamedTuple):
    path: Path
    name: str
    digest: str


def run_batch(plan: Plan) -> int:
    """Ask about each file that has no answer in the results yet; the exit code.

    Raises:
        click.ClickException: The results cannot be written there.
        MlxdError: Nothing can be asked, or nothing any more.
    """
    try:
        with Results(plan.out, plan.model, plan.digest) as results:
            # The digest now, the content later: a file that changes in between is asked about again.
            files = [_File(Path(file), label(file), digest_of(file)) for file in plan.files]
            left = [file for file in files if not results.is_answered(file.name, file.digest)]
            view = BatchView(len(files), num_skipped=len(files) - len(left))
            try:
                if left:
                    session.run(_run(plan, iter(left), results, view))
            finally:
                if view.has_begun or not left:
                    click.echo(view.summary(str(plan.out)), err=True)
    except ResultsError as e:
        raise click.ClickException(str(e)) from None
    return FAILED if view.num_failed else 0


async def _run(plan: Plan, files: Iterator[_File], results: Results, view: BatchView) -> None:
    settings = resolve().settings.media
    async with session.any_kernel() as client:
        await check_thinks(client, plan.model, plan.request)
        await check_takes_images(client, plan.model, "--each")
        await session.load(client, plan.model, plan.terms.keep_alive_s)
        async with open_intake(client, settings) as intake:
            asker = _Asker(plan, client, intake, settings.max_file_bytes)
            with view:
                await _work_through(files, plan.concurrency, asker, results, view)


async def _work_through(
    files: Iterator[_File], concurrency: int, asker: _Asker, results: Results, view: BatchView
) -> None:
    """Ask about several files at a time until none is left.

    Raises:
        MlxdError: One of `FATAL`.
    """

    async def work() -> None:
        for file in files:
            result = await asker.result(file)
            results.append(result)
            view.ended(result)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except BaseExceptionGroup as e:
        raise e.exceptions[0] from None


class _Asker:
    """From a file to its result."""

    def __init__(self, plan: Plan, client: KernelClient, intake: MediaIntake, max_file_bytes: int) -> None:
        self._plan = plan
        self._asked = plan.digest
        self._client = client
        self._intake = intake
        self._max_file_bytes = max_file_bytes

    async def result(self, file: _File) -> Result:
        """Ask about a file.

        Raises:
            MlxdError: One of `FATAL`; all others are in the result.
        """
        start_s = time.monotonic()
        answer = Answer()
        error = None
        try:
            answer = await self._ask_patiently(file)
        except FATAL:
            raise
        except MlxdError as e:
            error = ResultFailure(code=e.code, message=e.message)
        done = answer.done
        return Result(
            file=file.name,
            digest=file.digest,
            model=self._plan.model,
            request=self._asked,
            seconds=round(time.monotonic() - start_s, 3),
            answer=answer.text if done else None,
            finish_reason=done.finish_reason if done else None,
            usage=done.usage if done else None,
            error=error,
        )

    async def _ask_patiently(self, file: _File) -> Answer:
        for _ in range(MAX_TRIES - 1):
            try:
                return await self._ask(file)
            except ShuttingDown:
                raise
            except CapacityError as e:
                await asyncio.sleep(e.retry_after_s or RETRY_S)
        return await self._ask(file)

    async def _ask(self, file: _File) -> Answer:
        content = await asyncio.to_thread(read_file, file.path, file.name, self._max_file_bytes)
        pages = self._plan.pages if is_document(content) else ""
        pictures = await take_in(self._intake, [Source(content=content, path=file.name, pages=pages)])
        answer = Answer()
        request = about(self._plan.request, len(pictures))
        try:
            submission = submit(self._client, self._plan.model, request, pictures, self._plan.terms)
        except MlxdError:
            self._intake.discard(pictures)
            raise
        async with submission as updates:
            await answer.read(updates)
        return answer
