"""GET /v1/responses/{id}/input_items: which of the items, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from transports.errors import RequestError

# OpenAI's.
DEFAULT_LIMIT = 20
MAX_LIMIT = 100

# What the query may say: its JSON Schema.
QUERY: dict[str, dict[str, object]] = {
    "limit": {
        "description": "So many items at most.",
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_LIMIT,
        "default": DEFAULT_LIMIT,
    },
    "order": {"description": "The last item first, or last.", "enum": ["desc", "asc"], "default": "desc"},
    "after": {"description": "The id of the item before the first one.", "type": "string"},
}

_encode = msgspec.json.Encoder().encode


class Page(NamedTuple):
    """Which items are asked for."""

    limit: int = DEFAULT_LIMIT
    is_ascending: bool = False
    # The item before the first one; "": from the beginning.
    after: str = ""


class _Id(Struct, frozen=True):
    id: str


def read_page(query: Mapping[str, str]) -> Page:
    """What the query of a URL asks for.

    Raises:
        RequestError: A wrong value.
    """
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:4]) <= MAX_LIMIT):
        raise RequestError(f"limit: expected an integer in [1, {MAX_LIMIT}]", param="limit")
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise RequestError("order: expected asc or desc", param="order")
    return Page(int(limit), order == "asc", query.get("after", ""))


def page_of(items: bytes, page: Page) -> bytes:
    """The JSON of a page.

    Args:
        items: The JSON of all of them.
        page: Which ones.

    Raises:
        RequestError: There is no item to go on after.
    """
    listed = msgspec.json.decode(items, type=list[Raw])
    ids = [msgspec.json.decode(item, type=_Id).id for item in listed]
    found = list(zip(ids, listed, strict=True))
    if not page.is_ascending:
        found.reverse()
    if page.after:
        at = next((i for i, (id_, _) in enumerate(found) if id_ == page.after), None)
        if at is None:
            raise RequestError("after: expected the id of one of the items", param="after")
        found = found[at + 1 :]
    shown = found[: page.limit]
    body = {
        "object": "list",
        "data": [item for _, item in shown],
        "first_id": shown[0][0] if shown else None,
        "last_id": shown[-1][0] if shown else None,
        "has_more": len(found) > len(shown),
    }
    return _encode(body)
