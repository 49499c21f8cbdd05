"""POST /v1/chat/completions and /v1/completions: from the body to the answer, streamed or whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack

from aiohttp import web

from plugins.client import Submission
from plugins.http.body import read_body
from plugins.http.events import DONE, EventStream, event
from plugins.http.exchange import Exchange
from plugins.http.request_headers import terms_of
from plugins.http.unusable_fields import UnusableFields
from plugins.http.waiting import streamed_together
from plugins.image_models import ImageModels
from plugins.merged_updates import Placed, merged_updates
from plugins.openai.answer import Answer
from plugins.openai.choices import Choices, choices_of
from plugins.openai.content import read_turns
from plugins.openai.logprobs import num_bytes
from plugins.openai.requests import WITHOUT_EFFECT, ChatBody, CompletionBody, GenerateBody
from plugins.openai.shapes import ChatShape, CompletionShape, Shape
from plugins.openai.translate import (
    asked_terms,
    chat_request,
    check_chat,
    completion_requests,
    includes_usage,
    may_leave_out_tools,
    other_names,
    thinking_of,
    user_of,
    without_tools,
)
from plugins.pictures import with_pictures
from plugins.renamed import renamed
from plugins.submit_terms import SubmitTerms
from plugins.validation import Reader, aside
from transports.messages import ChatRequest, CompletionRequest, Done, Usage


class Generator:
    """The two routes that generate text."""

    def __init__(self, *, strict: bool) -> None:
        self._chat = Reader(ChatBody, strict=strict, without_effect=WITHOUT_EFFECT)
        self._completion = Reader(CompletionBody, strict=strict, without_effect=WITHOUT_EFFECT)
        self._image_models = ImageModels()
        self._unusable = UnusableFields()

    async def chat(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        terms = terms_of(exchange.request.headers)
        data = await read_body(exchange)
        body, ignored = await self._chat.read_aside(data)
        exchange.note_ignored(ignored)
        check_chat(body)
        turns = await aside(len(data), read_turns, body.messages)
        shape = ChatShape(body.model, include_usage=includes_usage(body), with_logprobs=body.logprobs is True)
        exchange.begin(body.model, shape.id)
        unusable = await self._unusable.fields(
            exchange,
            body.model,
            thinking=thinking_of(body),
            may_leave_out_tools=may_leave_out_tools(body),
        )
        if "tools" in unusable:
            body = without_tools(body)
        exchange.note_ignored([*ignored, *unusable])
        messages, packed = await with_pictures(
            exchange.client, exchange, exchange.intake, self._image_models, body.model, turns
        )
        request = chat_request(body, messages, packed.images)
        with renamed(other_names(body)):
            return await _answer(exchange, body, "chat", [request], shape, terms, packed.buffers)

    async def completion(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/completions."""
        terms = terms_of(exchange.request.headers)
        data = await read_body(exchange)
        body, ignored = await self._completion.read_aside(data)
        exchange.note_ignored(ignored)
        shape = CompletionShape(
            body.model, include_usage=includes_usage(body), with_logprobs=body.logprobs is not None
        )
        exchange.begin(body.model, shape.id)
        requests = await aside(len(data), completion_requests, body)
        return await _answer(exchange, body, "completion", requests, shape, terms)


async def _answer(
    exchange: Exchange,
    body: GenerateBody,
    task: str,
    prompts: Sequence[ChatRequest | CompletionRequest],
    shape: Shape,
    terms: SubmitTerms,
    buffers: Sequence[bytes] = (),
) -> web.StreamResponse:
    terms = asked_terms(body, terms)
    exchange.user = user_of(body)
    choices = choices_of(body)
    requests = choices.requests(prompts)
    if exchange.key:
        # Of the first one the door has taken count.
        exchange.keyring.count(exchange.key, len(requests) - 1)
    async with AsyncExitStack() as stack:
        stack.enter_context(exchange.client.holding(choices.images(prompts)))

        def submitted() -> Iterator[Submission]:
            """Side by side: the worker batches them."""
            for request in requests:
                submission = exchange.submit(
                    task=task, model=body.model, body=request, terms=terms, buffers=buffers
                )
                # Leaving the stack cancels what has not ended.
                stack.push_async_exit(submission)
                yield submission

        if body.stream:
            return await _stream(exchange, submitted(), shape, choices, include_usage=includes_usage(body))
        return await _whole(exchange, submitted(), shape, choices)


async def _whole(
    exchange: Exchange, submissions: Iterable[Submission], shape: Shape, choices: Choices
) -> web.Response:
    answers: dict[int, Answer] = defaultdict(Answer)
    usages: dict[int, Usage] = {}
    async for updates in merged_updates(submissions):
        for index, update in updates:
            answers[index].take(update)
            if isinstance(update, Done):
                usages[index] = exchange.note_end(update).usage
    usage = choices.usage([usages[index] for index in sorted(usages)])
    given = choices.given([answers[index] for index in sorted(answers)])
    size = sum(answer.num_bytes for answer in given)
    return exchange.json(await aside(size, shape.whole, given, usage))


# --- streamed ---------------------------------------------------------------------------------


async def _stream(
    exchange: Exchange,
    submissions: Iterable[Submission],
    shape: Shape,
    choices: Choices,
    *,
    include_usage: bool,
) -> web.StreamResponse:
    stream = EventStream(exchange.request, exchange.headers, exchange.settings.write_timeout_s)
    exchange.stream = stream
    begun: set[int] = set()
    usages: dict[int, Usage] = {}
    async for updates in streamed_together(submissions, stream, exchange.settings.sse_keepalive_s):
        for index, update in updates:
            if isinstance(update, Done):
                usages[index] = exchange.note_end(update).usage
        size = num_bytes(update for _, update in updates)
        await stream.send(await aside(size, _written, shape, begun, updates))
    end = DONE
    if include_usage:
        usage = choices.usage([usages[index] for index in sorted(usages)])
        end = event(shape.usage(usage)) + end
    await stream.send(end)
    return stream.response


def _written(shape: Shape, begun: set[int], updates: Iterable[Placed]) -> bytes:
    """The events of *updates*; notes in *begun* which choices have begun."""
    chunks: list[bytes] = []
    for index, update in updates:
        if index not in begun:
            begun.add(index)
            chunks.append(event(shape.first(index)))
        if isinstance(update, Done):
            chunks.append(event(shape.last(index, update)))
        else:
            chunks.append(event(shape.chunk(index, update)))
    return b"".join(chunks)
