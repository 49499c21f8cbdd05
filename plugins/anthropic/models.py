"""Our models as Anthropic's model objects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from transports.reports import ModelInfo


class MessageModel(Struct, frozen=True, kw_only=True, tag_field="type", tag="model"):
    """A model that can be asked."""

    id: str
    display_name: str
    # RFC 3339.
    created_at: str
    lifecycle: Literal["active"] = "active"
    # Tokens; null where it is not known.
    max_input_tokens: int | None
    max_tokens: int | None


class MessageModelPage(Struct, frozen=True, kw_only=True):
    """All of them: there is one page."""

    data: list[MessageModel]
    has_more: Literal[False] = False
    first_id: str | None
    last_id: str | None


def message_model(info: ModelInfo) -> MessageModel:
    """What stands in a list of models."""
    return MessageModel(
        id=info.name,
        display_name=info.name,
        created_at=datetime.fromtimestamp(info.created, UTC).isoformat().replace("+00:00", "Z"),
        max_input_tokens=info.context_length or None,
        max_tokens=info.context_length or None,
    )


def message_models(infos: Sequence[ModelInfo]) -> MessageModelPage:
    """The list."""
    data = [message_model(info) for info in infos]
    return MessageModelPage(
        data=data, first_id=data[0].id if data else None, last_id=data[-1].id if data else None
    )
