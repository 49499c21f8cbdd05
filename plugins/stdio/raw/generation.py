"""Chats and completions of the raw personality: from OpenAI's body to its answer, with chunks on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import msgspec
from msgspec import Raw

from plugins.client import KernelClient, Submission, Update
from plugins.image_models import ImageModels
from plugins.media.intake import MediaIntake
from plugins.media.picture import Source
from plugins.merged_updates import merged_updates
from plugins.openai.answer import Answer
from plugins.openai.choices import choices_of
from plugins.openai.content import read_turns
from plugins.openai.requests import WITHOUT_EFFECT, ChatBody, CompletionBody, GenerateBody
from plugins.openai.shapes import ChatShape, CompletionShape, Shape
from plugins.openai.translate import (
    asked_terms,
    chat_request,
    check_chat,
    completion_requests,
    includes_usage,
    other_names,
    thinking_of,
)
from plugins.pictures import with_pictures
from plugins.raw_fields import NULL, has_value
from plugins.renamed import renamed
from plugins.stdio.connection import Connection
from plugins.stdio.files import is_file_url, read_allowed
from plugins.stdio.jsonrpc import Request
from plugins.stdio.kernel_link import KernelLink
from plugins.submission import not_cancelled
from plugins.submit_terms import SubmitTerms
from plugins.thinking_models import ThinkingModels
from plugins.turns import Turn, chat_messages
from plugins.validation import Reader
from transports.errors import RequestError
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
        self._chat = Reader(ChatBody, strict=True, without_effect=WITHOUT_EFFECT)
        self._completion = Reader(CompletionBody, strict=True, without_effect=WITHOUT_EFFECT)
        self._image_models = ImageModels()
        self._thinking_models = ThinkingModels()
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
        await self._thinking_models.without_effect(client, body.model, thinking_of(body), may_ignore=False)
        intake = await self._intake_for(client)
        messages, packed = await with_pictures(client, client, intake, self._image_models, body.model, turns)
        asked = [chat_request(body, messages, packed.images)]
        with renamed(other_names(body)):
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
                (usage,) = await _read([submission], [Answer()], None)
                num_tokens += usage.prompt_tokens
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
        prompts: Sequence[ChatRequest | CompletionRequest],
        shape: Shape,
        buffers: Sequence[bytes] = (),
    ) -> Raw:
        choices, terms = choices_of(body), asked_terms(body, SubmitTerms())
        asked = choices.requests(prompts)
        async with AsyncExitStack() as stack:
            stack.enter_context(client.holding(choices.images(prompts)))

            def submitted() -> Iterator[Submission]:
                """Side by side: the worker batches them."""
                for one in asked:
                    submission = client.submit(
                        task=task, model=body.model, body=one, buffers=buffers, **terms._asdict()
                    )
                    # Leaving the stack cancels what has not ended.
                    stack.push_async_exit(submission)
                    yield submission

            chunks = _Chunks(self._connection, request.id, shape) if body.stream else None
            answers = [Answer() for _ in asked]
            usages = await _read(submitted(), answers, chunks)
            if chunks and includes_usage(body):
                await chunks.send(shape.usage(choices.usage(usages)))
            return Raw(shape.whole(choices.given(answers), choices.usage(usages)))


class _Chunks:
    """What a program is told before the whole answer, if it wants to stream."""

    def __init__(self, connection: Connection, id_: Raw, shape: Shape) -> None:
        self._connection = connection
        self._id = id_
        self._shape = shape

    async def add(self, index: int, update: Update, *, is_first: bool) -> None:
        """What is new of a choice."""
        if is_first:
            await self.send(self._shape.first(index))
        shape = self._shape
        await self.send(shape.last(index, update) if isinstance(update, Done) else shape.chunk(index, update))

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


async def _read(
    submissions: Iterable[Submission], answers: Sequence[Answer], chunks: _Chunks | None
) -> list[Usage]:
    """Gather the answers, with chunks on the way; what each has used."""
    usages: dict[int, Usage] = {}
    begun: set[int] = set()
    async for updates in merged_updates(submissions):
        for index, update in updates:
            if isinstance(update, Progress | Prefill):
                if chunks:
                    await chunks.wait(update)
                continue
            answers[index].take(update)
            if isinstance(update, Done):
                usages[index] = not_cancelled(update).usage
            if chunks:
                await chunks.add(index, update, is_first=index not in begun)
                begun.add(index)
    return [usages[index] for index in sorted(usages)]
