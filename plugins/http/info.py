"""GET routes: models, liveness, readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, TypedDict

import msgspec
from aiohttp import web

from plugins.anthropic.models import message_model, message_models
from plugins.http.dialect import ANTHROPIC
from plugins.http.exchange import KERNEL_TIMEOUT_S, Exchange, not_known
from plugins.openai.answer_types import ListedModel, ModelList
from plugins.openai.models import model_object
from plugins.openai.open_webui import open_webui_info
from transports.errors import MlxdError
from transports.reports import ModelInfo


class Health(TypedDict):
    """The process lives."""

    status: Literal["ok"]


class Ready(TypedDict):
    """All that was named at start is there."""

    status: Literal["ready"]


class Waiting(TypedDict):
    """It is not there yet."""

    status: Literal["waiting"]
    waiting_for: tuple[str, ...]


_encode = msgspec.json.Encoder().encode


async def health(exchange: Exchange) -> web.Response:
    """GET /health: this process lives. Says nothing of models."""
    return exchange.json(b'{"status":"ok"}')


async def ready(exchange: Exchange) -> web.Response:
    """GET /ready: all models named at start are loaded, all frontends are up."""
    waiting_for: tuple[str, ...]
    try:
        async with asyncio.timeout(KERNEL_TIMEOUT_S):
            status = await exchange.client.status()
        is_ready = status.is_ready and not exchange.client.stopping.is_set()
        hidden = await exchange.hidden_models()
        waiting_for = tuple(one if _is_told(one, hidden) else "another model" for one in status.waiting_for)
    except (TimeoutError, MlxdError):
        is_ready, waiting_for = False, ("the kernel",)
    if is_ready:
        return exchange.json(b'{"status":"ready"}')
    body = _encode(Waiting(status="waiting", waiting_for=waiting_for))
    headers = {**exchange.headers, "Retry-After": "1"}
    return web.Response(status=503, body=body, content_type="application/json", headers=headers)


async def models(exchange: Exchange) -> web.Response:
    """GET /v1/models: the models that can be asked."""
    served = await _served(exchange)
    if exchange.dialect is ANTHROPIC:
        return exchange.json(_encode(message_models(served)))
    listed = [_listed(info) for info in served]
    return exchange.json(_encode(ModelList(object="list", data=listed)))


async def model(exchange: Exchange) -> web.Response:
    """GET /v1/models/{id}; ids may contain slashes."""
    served = await _served(exchange)
    for info in served:
        if info.name == exchange.rest:
            shown = message_model(info) if exchange.dialect is ANTHROPIC else _listed(info)
            return exchange.json(_encode(shown))
    raise not_known(exchange.rest, [info.name for info in served])


def _is_told(text: str, hidden: Sequence[str]) -> bool:
    return not any(name in text for name in hidden)


def _listed(info: ModelInfo) -> ListedModel:
    return {**model_object(info), "info": open_webui_info(info)}


async def _served(exchange: Exchange) -> list[ModelInfo]:
    return [info for info in await exchange.models() if info.kind]
