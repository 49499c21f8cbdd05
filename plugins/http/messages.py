"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's API, from the body to the answer."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from plugins.anthropic.answers import TokenCount
from plugins.anthropic.blocks import BlockReader
from plugins.anthropic.content import read_turns
from plugins.anthropic.errors import error_event
from plugins.anthropic.requests import WITHOUT_EFFECT, CountBody, MessagesBody
from plugins.anthropic.shapes import PING, MessageShape
from plugins.anthropic.tools import eager_tools, may_leave_out_tools, runs_here, thinking_of
from plugins.anthropic.translate import check, count_request, message_request
from plugins.client import Submission, Update
from plugins.http.body import read_body
from plugins.http.events import EventStream
from plugins.http.exchange import Exchange
from plugins.http.request_headers import terms_of
from plugins.http.unusable_fields import UnusableFields
from plugins.http.waiting import KEEP_ALIVE, comment
from plugins.image_models import ImageModels
from plugins.keep_alive import keep_alive_of
from plugins.merged_updates import merged_updates
from plugins.pictures import Pictured, with_pictures
from plugins.submit_terms import SubmitTerms
from plugins.turns import Turn
from plugins.validation import Reader, aside
from transports.errors import WorkerError
from transports.messages import ChatRequest, Done, Prefill, Progress

# Of the header anthropic-beta: the input of all tools is streamed as it comes.
EAGER_BETA = "fine-grained-tool-streaming"

T = TypeVar("T", bound=CountBody)


class Messenger:
    """The two routes."""

    def __init__(self, *, strict: bool) -> None:
        self._messages = Reader(MessagesBody, strict=strict, without_effect=WITHOUT_EFFECT)
        self._counts = Reader(CountBody, strict=strict, without_effect=WITHOUT_EFFECT)
        self._image_models = ImageModels()
        self._unusable = UnusableFields()

    async def create(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/messages."""
        terms = terms_of(exchange.request.headers)
        body, pictured = await self._read(exchange, self._messages)
        request = message_request(body, pictured.messages, pictured.packed.images)
        shape = MessageShape(body.model, body.max_tokens, _blocks(exchange, body))
        async with _submit(exchange, body, request, pictured, terms) as submission:
            if body.stream:
                return await _stream(exchange, submission, shape)
            items, end = await _gathered(exchange, submission)
            return exchange.json(shape.whole(items, end))

    async def count_tokens(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/messages/count_tokens."""
        terms = terms_of(exchange.request.headers)
        body, pictured = await self._read(exchange, self._counts)
        request = count_request(body, pictured.messages, pictured.packed.images)
        async with _submit(exchange, body, request, pictured, terms) as submission:
            _, end = await _gathered(exchange, submission)
        return exchange.json(msgspec.json.encode(TokenCount(input_tokens=end.usage.prompt_tokens)))

    async def _read(self, exchange: Exchange, reader: Reader[T]) -> tuple[T, Pictured]:
        """The request, which the kernel will know, and its conversation."""
        data = await read_body(exchange)
        body, ignored = await reader.read_aside(data)
        exchange.note_ignored(ignored)
        if kept := await self._kept_tools(exchange, body):
            body = kept
            ignored.append("tools")
        ignored += await self._unusable.fields(
            exchange, body.model, thinking=thinking_of(body), may_leave_out_tools=False
        )
        exchange.note_ignored(ignored)
        turns = await aside(len(data), _conversation, body)
        exchange.begin(body.model)
        pictured = await with_pictures(
            exchange.client, exchange, exchange.intake, self._image_models, body.model, turns
        )
        return body, pictured

    async def _kept_tools(self, exchange: Exchange, body: T) -> T | None:
        """*body* without the tools that nobody could call, where they may be left out; None: keep them."""
        if not exchange.settings.ignore_unusable_fields or not may_leave_out_tools(body):
            return None
        kept = [tool for tool in body.tools or () if runs_here(tool)]
        if kept and await self._unusable.fields(exchange, body.model, may_leave_out_tools=True):
            kept = []
        if len(kept) == len(body.tools or ()):
            return None
        return msgspec.structs.replace(body, tools=kept)


def _conversation(body: CountBody) -> list[Turn]:
    check(body)
    return read_turns(body.system, body.messages)


def _submit(
    exchange: Exchange, body: CountBody, request: ChatRequest, pictured: Pictured, terms: SubmitTerms
) -> Submission:
    terms = terms._replace(keep_alive_s=keep_alive_of(body.keep_alive))
    return exchange.submit(
        task="chat", model=body.model, body=request, terms=terms, buffers=pictured.packed.buffers
    )


def _blocks(exchange: Exchange, body: MessagesBody) -> BlockReader:
    eager = eager_tools(body.tools)
    if EAGER_BETA in exchange.request.headers.get("anthropic-beta", ""):
        eager = frozenset(tool.name for tool in body.tools or () if tool.name)
    omits = body.thinking is not None and body.thinking.display == "omitted"
    # Only a stream can show what is not whole.
    return BlockReader(eager if body.stream else frozenset(), omits_thoughts=omits)


async def _gathered(exchange: Exchange, submission: Submission) -> tuple[list[Update], Done]:
    items: list[Update] = []
    async for update in submission:
        match update:
            case Done():
                return items, exchange.note_end(update)
            case Progress() | Prefill():
                pass
            case _:
                items.append(update)
    raise WorkerError("the answer ended without an end")


async def _stream(exchange: Exchange, submission: Submission, shape: MessageShape) -> web.StreamResponse:
    settings = exchange.settings
    stream = exchange.stream = EventStream(
        exchange.request,
        exchange.headers,
        settings.write_timeout_s,
        failure=lambda error: error_event(error, exchange.request_id),
    )
    # What is said in a silence.
    filler = KEEP_ALIVE
    async for updates in merged_updates([submission], settings.sse_keepalive_s):
        events: list[bytes] = []
        for _, update in updates:
            if isinstance(update, Progress):
                filler = comment(update)
                continue
            if filler is not PING:
                # The prompt is being read: it is known how long it is, unless it was short.
                events.append(shape.start(update.num_total if isinstance(update, Prefill) else 0))
                filler = PING
            if isinstance(update, Done):
                events.append(shape.end(exchange.note_end(update)))
            else:
                events.append(shape.more(update))
        data = b"".join(events)
        if data:
            await stream.send(data)
        # What comes may be nothing to tell yet, such as a call that is not whole.
        await stream.fill(filler, settings.sse_keepalive_s)
    return stream.response
