"""Chats and completions of the raw personality: from OpenAI's body to its answer, with chunks on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import msgspec
from msgspec import Raw

from plugins.client import KernelClient, Submission
from plugins.image_models import ImageModels
from plugins.media.intake import MediaIntake
from plugins.media.picture import Source
from plugins.openai.answer import Answer
from plugins.openai.content import Turn, chat_messages, read_turns
from plugins.openai.pictures import with_pictures
from plugins.openai.requests import ChatBody, CompletionBody, GenerateBody
from plugins.openai.shapes import ChatShape, CompletionShape, Shape, total
from plugins.openai.translate import (
    chat_request,
    check_chat,
    completion_requests,
    includes_usage,
    keep_alive_s,
)
from plugins.openai.undecoded import NULL, has_value
from plugins.openai.validation import Reader
from plugins.stdio.connection import Connection
from plugins.stdio.files import is_file_url, read_allowed
from plugins.stdio.jsonrpc import Request
from plugins.stdio.kernel_link import KernelLink
from plugins.submission import not_cancelled
from transports.errors import RequestError, WorkerError
from transports.messages import ChatRequest, CompletionRequest, Done, Prefill, Progress, Usage
from transports.settings import Settings


class _Prompted(msgspec.Struct, frozen=True):
    """What tells a completion from a chat."""

    prompt: Raw = NULL


class Generation:
    """The methods that give text to a model."""

    def __init__(self, connection: Connection, kernel: KernelLink, settings: Settings) -> None:
        self._connection = connection
        self._kernel = kernel
        self._settings = settings
        # A name that nobody knows is a mistake of whoever wrote the program that talks to us.
        self._chat = Reader(ChatBody, strict=True)
        self._completion = Reader(CompletionBody, strict=True)
        self._image_models = ImageModels()
        # Decodes for one connection to the kernel: its folder is there.
        self._intake: MediaIntake | None = None
        self._intake_of: KernelClient | None = None

    async def chat(self, request: Request) -> Raw:
        """chat.completions.create."""
        body, _ = await self._chat.read_aside(bytes(request.params))
        check_chat(body)
        turns = await self._with_files(read_turns(body.messages))
        shape = ChatShape(body.model, include_usage=includes_usage(body), with_logprobs=body.logprobs is True)
        client = await self._kernel.client()
        intake = await self._intake_for(client)
        messages, packed = await with_pictures(client, client, intake, self._image_models, body.model, turns)
        asked = [chat_request(body, messages, packed.images)]
        return await self._answer(request, client, body, "chat", asked, shape, packed.buffers)

    async def completion(self, request: Request) -> Raw:
        """completions.create."""
        body, _ = await self._completion.read_aside(bytes(request.params))
        shape = CompletionShape(
            body.model, include_usage=includes_usage(body), with_logprobs=body.logprobs is not None
        )
        client = await self._kernel.client()
        return await self._answer(request, client, body, "completion", completion_requests(body), shape)

    async def count(self, request: Request) -> dict[str, int]:
        """tokens.count: of a chat or of a completion, as its model sees it."""
        params = bytes(request.params)
        asked: list[ChatRequest | CompletionRequest]
        body: GenerateBody
        if not has_value(msgspec.json.decode(params, type=_Prompted).prompt):
            chat, _ = await self._chat.read_aside(params)
            turns = read_turns(chat.messages)
            if sources := [source for turn in turns for source in turn.sources]:
                raise RequestError(f"{sources[0].path}: pictures are not counted", param=sources[0].path)
            body, asked, task = chat, [chat_request(chat, chat_messages(turns, ()))], "chat"
        else:
            completion, _ = await self._completion.read_aside(params)
            body, asked, task = completion, [*completion_requests(completion)], "completion"
        client = await self._kernel.client()
        num_tokens = 0
        for one in asked:
            counted = msgspec.structs.replace(one, count_only=True)
            async with client.submit(task=task, model=body.model, body=counted) as submission:
                num_tokens += (await _read(submission, 0, Answer(), None)).prompt_tokens
        return {"input_tokens": num_tokens}

    async def close(self) -> None:
        """End the processes that decode pictures."""
        if self._intake:
            await self._intake.close()

    async def _with_files(self, turns: Sequence[Turn]) -> list[Turn]:
        """Read what `file:` URLs name."""
        return [replace(turn, parts=[await self._with_file(part) for part in turn.parts]) for turn in turns]

    async def _with_file(self, part: str | Source) -> str | Source:
        if isinstance(part, str) or not isinstance(part.content, str) or not is_file_url(part.content):
            return part
        roots, max_bytes = self._settings.stdio.file_roots, self._settings.media.max_file_bytes
        content = await asyncio.to_thread(read_allowed, part.content, roots, max_bytes, part.path)
        return replace(part, content=content)

    async def _intake_for(self, client: KernelClient) -> MediaIntake:
        if self._intake is None or self._intake_of is not client:
            await self.close()
            self._intake = MediaIntake(self._settings.media, client.shared_folder)
            self._intake_of = client
        return self._intake

    # --- the answer -----------------------------------------------------------------------

    async def _answer(
        self,
        request: Request,
        client: KernelClient,
        body: GenerateBody,
        task: str,
        asked: Sequence[ChatRequest | CompletionRequest],
        shape: Shape,
        buffers: Sequence[bytes] = (),
    ) -> Raw:
        async with AsyncExitStack() as stack:
            # All at once: the worker batches them. Leaving the stack cancels what has not ended.
            submissions = [
                await stack.enter_async_context(
                    client.submit(
                        task=task,
                        model=body.model,
                        body=one,
                        buffers=buffers,
                        keep_alive_s=keep_alive_s(body),
                    )
                )
                for one in asked
            ]
            chunks = _Chunks(self._connection, request.id, shape) if body.stream else None
            answers = [Answer() for _ in submissions]
            usages = [
                await _read(submission, index, answer, chunks)
                for index, (submission, answer) in enumerate(zip(submissions, answers, strict=True))
            ]
            if chunks and includes_usage(body):
                await chunks.send(shape.usage(total(usages)))
            return Raw(shape.whole(answers, total(usages)))


class _Chunks:
    """What a program is told before the whole answer, if it wants to stream."""

    def __init__(self, connection: Connection, id_: Raw, shape: Shape) -> None:
        self._connection = connection
        self._id = id_
        self.shape = shape

    async def send(self, chunk: bytes) -> None:
        """A chunk in OpenAI's shape; b"" is none."""
        if chunk:
            await self._connection.stream("chunk", {"id": self._id, "chunk": Raw(chunk)})

    async def wait(self, update: Progress | Prefill) -> None:
        """Why there is no text yet."""
        if isinstance(update, Prefill):
            fraction = update.num_done / update.num_total if update.num_total else None
            waiting: dict[str, object] = {"phase": "prefill", "fraction": fraction}
        else:
            waiting = {"phase": update.phase, "fraction": update.fraction}
            if update.position:
                waiting["position"] = update.position
        await self._connection.stream("progress", {"id": self._id, **waiting})


async def _read(submission: Submission, index: int, answer: Answer, chunks: _Chunks | None) -> Usage:
    is_first = True
    async for update in submission:
        if chunks and is_first and not isinstance(update, Progress | Prefill):
            await chunks.send(chunks.shape.first(index))
            is_first = False
        match update:
            case Progress() | Prefill():
                if chunks:
                    await chunks.wait(update)
            case Done():
                answer.take(not_cancelled(update))
                if chunks:
                    await chunks.send(chunks.shape.last(index, update))
                return update.usage
            case _:
                answer.take(update)
                if chunks:
                    await chunks.send(chunks.shape.chunk(index, update))
    raise WorkerError("the answer ended without an end")
