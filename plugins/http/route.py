"""A route: what is asked, who answers, and what /openapi.json says of it. Knows none in particular."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Literal, TypeAlias

import msgspec
from aiohttp import web

from plugins.http.dialect import OPENAI, Dialect
from plugins.http.exchange import Exchange
from plugins.http.gate import BodyLimit
from plugins.keys import Scope
from plugins.openai.errors import ErrorBody
from transports.settings import HttpSettings

Handler: TypeAlias = Callable[[Exchange], Awaitable[web.StreamResponse]]
# What belongs together on the page of the reference, in this order.
Group: TypeAlias = Literal["Text", "Embeddings and rerank", "Tokens", "Models", "Server"]

JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a route answers with."""

    # Of its JSON; str: a text of another media type.
    schema: type
    media_type: str = JSON
    # Of the JSON of each event, where the request may ask to stream.
    event: type | UnionType | None = None
    # Status -> what the body is then; besides errors.
    other: Mapping[int, type] = field(default_factory=dict)
    error: type = ErrorBody


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a route takes."""

    schema: type[msgspec.Struct]
    # One that is taken as it stands, by a demo model.
    example: Mapping[str, object]
    # Whether pictures or documents may be in it, which makes it large.
    has_pictures: bool = False

    def limit(self, settings: HttpSettings) -> BodyLimit:
        """How large it may be."""
        if self.has_pictures or settings.max_body_bytes <= settings.max_text_body_bytes:
            return BodyLimit(settings.max_body_bytes, "max_body_bytes")
        return BodyLimit(settings.max_text_body_bytes, "max_text_body_bytes")


@dataclass(frozen=True)
class Route:
    """A method and a path; a "*" in the path takes everything there, slashes too."""

    method: str
    path: str
    handler: Handler
    # A sentence: what it does.
    summary: str
    group: Group
    answer: Answer
    body: Body | None = None
    # Who may ask where keys are needed: everybody, every key, or keys of scope "admin".
    access: Literal["open", Scope] = "use"
    # What its URL may say behind a "?": JSON Schemas.
    query: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    # What stands for the "*" of the path.
    rest: str = "id"
    # Of what is on this path or below it, whether it is a route or not.
    dialect: Dialect = OPENAI

    def rest_of(self, path: str) -> str | None:
        """What stands in *path* for the "*", or "" without one; None if it is another path."""
        before, star, after = self.path.partition("*")
        if not star:
            return "" if path == before else None
        rest = path[len(before) : len(path) - len(after)]
        return rest if rest and path == before + rest + after else None
