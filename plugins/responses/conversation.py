"""The conversation that a response answers: what was kept of it, and what the request adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from plugins.responses.items import MAX_TURNS, Placed, read_items
from plugins.responses.listed import listed_items
from plugins.responses.requests import Item, ResponseBody
from plugins.responses.store import Kept
from plugins.turns import Turn
from transports.errors import RequestError

# Of a conversation that is kept: four for each turn that a request may have.
MAX_ITEMS = 4 * MAX_TURNS


class _Said(Struct, frozen=True):
    """Of a whole response, its items."""

    output: list[Item]


_encode = msgspec.json.Encoder().encode
_decode_items = msgspec.json.Decoder(list[Item]).decode
_decode_response = msgspec.json.Decoder(_Said).decode


class Conversation(NamedTuple):
    """All that a response answers."""

    turns: Sequence[Turn]
    # What the request adds, as it is kept and listed: JSON.
    added: bytes
    added_ids: tuple[str, ...]


def read_conversation(
    body: ResponseBody, before: Sequence[Kept], referred: Mapping[str, Kept]
) -> Conversation:
    """The turns of a request; nothing is decoded or fetched for this.

    Args:
        body: The request.
        before: The responses before it, the first one first.
        referred: Id of an item that the request only refers to -> the response that has it.

    Raises:
        RequestError: As `read_items`, or too much was kept of it.
    """
    _check_size([*before, *referred.values()])
    given = _given_items(body, referred)
    turns = read_items(body.instructions, [*_placed_before(before), *_placed(given)])
    listed = listed_items(given)
    return Conversation(turns, _encode(listed), tuple(item.id for item in listed))


def referred_ids(body: ResponseBody) -> set[str]:
    """Items that the request only refers to."""
    items = body.input if isinstance(body.input, list) else []
    return {item.id for item in items if item.id and _is_reference(item)}


def _check_size(kept: Sequence[Kept]) -> None:
    """Refuse to read more than a conversation may have; it would take seconds."""
    num_items = sum(len(items) for items in {one.id: one.item_ids for one in kept}.values())
    if num_items > MAX_ITEMS:
        raise RequestError(
            f"previous_response_id: expected at most {MAX_ITEMS} items before, got {num_items}",
            param="previous_response_id",
        )


def _given_items(body: ResponseBody, referred: Mapping[str, Kept]) -> list[Item]:
    if isinstance(body.input, str):
        return [Item(type="message", role="user", content=body.input)]
    kept = {one.id: one for one in referred.values()}
    found = {item.id: item for one in kept.values() for item in _items_of(one)}
    return [found.get(item.id, item) if _is_reference(item) else item for item in body.input or ()]


def _is_reference(item: Item) -> bool:
    # OpenAI: it need not say that it is one.
    is_bare = item.type is None and item.role is None and item.content is None
    return item.type == "item_reference" or (is_bare and item.id is not None)


def _placed_before(before: Sequence[Kept]) -> Iterator[Placed]:
    items = (item for kept in before for item in _items_of(kept))
    return (Placed(item, f"previous_response_id.items[{i}]") for i, item in enumerate(items))


def _placed(items: Sequence[Item]) -> Iterator[Placed]:
    return (Placed(item, f"input[{i}]") for i, item in enumerate(items))


def _items_of(kept: Kept) -> list[Item]:
    """What a response was asked with, and what it said."""
    return [*_decode_items(kept.input), *_decode_response(kept.response).output]
