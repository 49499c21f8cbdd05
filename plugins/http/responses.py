"""/v1/responses: answers whole or streamed, and what is kept of them for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

import msgspec
from aiohttp import web

from plugins.client import Submission
from plugins.http.body import read_body
from plugins.http.events import EventStream
from plugins.http.exchange import Exchange
from plugins.http.request_headers import terms_of
from plugins.http.unusable_fields import UnusableFields
from plugins.http.waiting import streamed_updates
from plugins.image_models import ImageModels
from plugins.openai.logprobs import num_bytes
from plugins.openai.translate import asked_terms, user_of
from plugins.pictures import with_pictures
from plugins.renamed import renamed
from plugins.responses.conversation import Conversation, read_conversation, referred_ids
from plugins.responses.events import EventWriter
from plugins.responses.listed import new_id
from plugins.responses.namespaces import num_functions
from plugins.responses.paging import page_of, read_page
from plugins.responses.requests import WITHOUT_EFFECT, ResponseBody
from plugins.responses.response import Response
from plugins.responses.shapes import Deleted, InputCount
from plugins.responses.store import Kept, ResponseStore
from plugins.responses.translate import (
    check_response,
    may_leave_out_tools,
    response_request,
    thinking_of,
    without_effect,
    without_foreign_tools,
    without_tools,
)
from plugins.submission import Update, not_cancelled
from plugins.submit_terms import SubmitTerms
from plugins.validation import Reader, aside
from transports.errors import NotFound, RequestError
from transports.logs import get_logger
from transports.messages import Done
from transports.settings import HttpSettings

log = get_logger()

_encode = msgspec.json.Encoder().encode


class _Asked(NamedTuple):
    """A request as it was read."""

    body: ResponseBody
    conversation: Conversation
    terms: SubmitTerms
    # Fields without effect.
    ignored: list[str]


class Responder:
    """The routes of OpenAI's Responses API."""

    def __init__(self, settings: HttpSettings) -> None:
        self._reader = Reader(ResponseBody, strict=settings.strict, without_effect=WITHOUT_EFFECT)
        self._image_models = ImageModels()
        self._unusable = UnusableFields()
        self._store = ResponseStore(
            settings.max_stored_responses, settings.max_stored_bytes, settings.stored_response_s
        )

    async def create(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/responses."""
        asked = await self._read(exchange)
        is_stored = asked.body.store is not False and self._store.has_room(len(asked.conversation.added))
        response = Response(asked.body, is_stored=is_stored)

        def on_end() -> None:
            # Before the client knows: its next request may be on its way.
            if is_stored:
                self._keep(exchange, asked, response)

        async with await self._submit(exchange, asked, response.id) as submission:
            answer = _stream if asked.body.stream else _whole
            with renamed(_names(asked.body)):
                return await answer(exchange, submission, response, on_end)

    async def count(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/responses/input_tokens."""
        asked = await self._read(exchange)
        num_tokens = 0
        async with await self._submit(exchange, asked, new_id("resp"), count_only=True) as submission:
            with renamed(_names(asked.body)):
                async for update in submission:
                    if isinstance(update, Done):
                        exchange.ends.append(not_cancelled(update))
                        num_tokens = update.usage.prompt_tokens
        return exchange.json(_encode(InputCount(object="response.input_tokens", input_tokens=num_tokens)))

    async def retrieve(self, exchange: Exchange) -> web.StreamResponse:
        """GET /v1/responses/{id}."""
        if exchange.request.query.get("stream") == "true":
            raise RequestError("stream: a response that is over is not streamed again", param="stream")
        return exchange.json(self._kept(exchange).response)

    async def input_items(self, exchange: Exchange) -> web.StreamResponse:
        """GET /v1/responses/{id}/input_items."""
        page = read_page(exchange.request.query)
        items = self._kept(exchange).input
        return exchange.json(await aside(len(items), page_of, items, page))

    async def delete(self, exchange: Exchange) -> web.StreamResponse:
        """DELETE /v1/responses/{id}."""
        kept = self._kept(exchange)
        self._store.delete(_owner(exchange), kept.id, monotonic())
        return exchange.json(_encode(Deleted(id=kept.id, object="response", deleted=True)))

    async def cancel(self, exchange: Exchange) -> web.StreamResponse:
        """POST /v1/responses/{id}/cancel."""
        self._kept(exchange)
        raise RequestError(
            "id: expected a response made in the background, as none is here; to cancel one, leave it",
            param="id",
        )

    async def _read(self, exchange: Exchange) -> _Asked:
        terms = terms_of(exchange.request.headers)
        data = await read_body(exchange)
        body, ignored = await self._reader.read_aside(data)
        ignored += without_effect(body)
        if exchange.settings.ignore_unusable_fields and may_leave_out_tools(body):
            num_tools = num_functions(body.tools)
            body = without_foreign_tools(body)
            ignored += ["tools"] if num_functions(body.tools) < num_tools else []
        exchange.note_ignored(ignored)
        check_response(body)
        owner, now = _owner(exchange), monotonic()
        before: list[Kept] = []
        if body.previous_response_id is not None:
            before = self._store.conversation(owner, body.previous_response_id, now)
        referred = self._store.with_items(owner, referred_ids(body), now)
        num_bytes = len(data) + sum(kept.num_bytes for kept in [*before, *referred.values()])
        conversation = await aside(num_bytes, read_conversation, body, before, referred)
        return _Asked(body, conversation, asked_terms(body, terms), ignored)

    async def _submit(
        self, exchange: Exchange, asked: _Asked, request_id: str, *, count_only: bool = False
    ) -> Submission:
        body, ignored = asked.body, asked.ignored
        exchange.user = user_of(body)
        exchange.begin(body.model, request_id)
        unusable = await self._unusable.fields(
            exchange,
            body.model,
            thinking=thinking_of(body),
            may_leave_out_tools=may_leave_out_tools(body),
        )
        if "tools" in unusable:
            body = without_tools(body)
        exchange.note_ignored(list(dict.fromkeys([*ignored, *unusable])))
        turns = asked.conversation.turns
        messages, packed = await with_pictures(
            exchange.client, exchange, exchange.intake, self._image_models, body.model, turns
        )
        request = response_request(body, messages, packed.images)
        if count_only:
            request = msgspec.structs.replace(request, count_only=True)
        return exchange.submit(
            task="chat", model=body.model, body=request, terms=asked.terms, buffers=packed.buffers
        )

    def _keep(self, exchange: Exchange, asked: _Asked, response: Response) -> None:
        kept = Kept(
            id=response.id,
            previous_id=asked.body.previous_response_id,
            input=asked.conversation.added,
            response=response.whole,
            item_ids=(*asked.conversation.added_ids, *response.item_ids),
        )
        if not self._store.put(_owner(exchange), kept, monotonic()):
            log.warning("response_not_kept", request_id=response.id, num_bytes=kept.num_bytes)

    def _kept(self, exchange: Exchange) -> Kept:
        kept = self._store.get(_owner(exchange), exchange.rest, monotonic())
        if kept is None:
            raise NotFound("id: no response of this id is kept here, or no longer", param="id")
        return kept


def _names(body: ResponseBody) -> dict[str, str]:
    """Fields of the protocol -> those of the request that they are made of."""
    names = {"messages": "input"}
    return names if body.max_output_tokens is None else {**names, "max_tokens": "max_output_tokens"}


def _owner(exchange: Exchange) -> str:
    """Whose responses are seen: the same for all where no key is needed."""
    return exchange.key.digest if exchange.key else ""


async def _whole(
    exchange: Exchange, submission: Submission, response: Response, on_end: Callable[[], None]
) -> web.StreamResponse:
    async for update in submission:
        if isinstance(update, Done):
            exchange.ends.append(not_cancelled(update))
        await aside(_num_bytes_of(response, [update]), response.take, [update])
    on_end()
    return exchange.json(response.whole)


def _num_bytes_of(response: Response, updates: Sequence[Update]) -> int:
    """About as many as are written of *updates*: the end of a response says again all that it has said."""
    return num_bytes(updates) + (response.num_bytes if isinstance(updates[-1], Done) else 0)


async def _stream(
    exchange: Exchange, submission: Submission, response: Response, on_end: Callable[[], None]
) -> web.StreamResponse:
    writer = EventWriter()

    def written(updates: Sequence[Update]) -> bytes:
        return writer.write(response.take(updates))

    stream = EventStream(
        exchange.request,
        exchange.headers,
        exchange.settings.write_timeout_s,
        failure=lambda error: writer.write(response.failed(error)),
    )
    exchange.stream = stream
    async for updates in streamed_updates(submission, stream, exchange.settings.sse_keepalive_s):
        end = updates[-1]
        if isinstance(end, Done):
            exchange.ends.append(not_cancelled(end))
        events = await aside(_num_bytes_of(response, updates), written, updates)
        if isinstance(end, Done):
            on_end()
        await stream.send(events)
    return stream.response
