"""The responses that are kept for a while, in memory: within limits, and each for its owner alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from transports.errors import PreviousResponseNotFound

# Counted beside the JSON: the objects for a response, and for an item's id.
RESPONSE_BYTES = 1024
ITEM_BYTES = 256


@dataclass(frozen=True, slots=True)
class Kept:
    """A response as it is kept."""

    id: str
    # The one before it in the conversation.
    previous_id: str | None
    # The items that it was asked with, and the whole response: JSON.
    input: bytes
    response: bytes
    # Of both.
    item_ids: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """What it takes in memory, about."""
        return len(self.input) + len(self.response) + RESPONSE_BYTES + ITEM_BYTES * len(self.item_ids)


class ResponseStore:
    """Keeps responses; those used longest ago go first, of whoever keeps most.

    An owner sees nothing of another: its ids are unknown to others.

    Args:
        max_responses: 0 keeps none.
        max_bytes: Of all of them.
        max_unused_s: One that nobody asked for, or went on from, for so long is forgotten.
    """

    def __init__(self, max_responses: int, max_bytes: int, max_unused_s: float) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._max_unused_s = max_unused_s
        self._shelves: dict[str, _Shelf] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return sum(len(shelf.kept) for shelf in self._shelves.values())

    def has_room(self, num_bytes: int) -> bool:
        """Whether a response of so many bytes could be kept."""
        return self._max_responses > 0 and num_bytes <= self._max_bytes

    def put(self, owner: str, kept: Kept, now: float) -> bool:
        """Keep a response, and forget others for it.

        Args:
            owner: Whose it is.
            kept: A new one.
            now: Monotonic time, seconds.

        Returns:
            Whether it is kept; one that is larger than all may be is not.
        """
        self._forget_unused(now)
        if not self.has_room(kept.num_bytes):
            return False
        shelf = self._shelves.setdefault(owner, _Shelf())
        shelf.put(kept, now)
        self.num_bytes += kept.num_bytes
        while len(self) > self._max_responses:
            self._forget(max(self._shelves, key=lambda name: len(self._shelves[name].kept)))
        while self.num_bytes > self._max_bytes:
            self._forget(max(self._shelves, key=lambda name: self._shelves[name].num_bytes))
        return kept.id in shelf.kept

    def get(self, owner: str, id_: str, now: float) -> Kept | None:
        """A response of *owner*; None if there is none of this id, or no longer."""
        return self._shelf(owner, now).use(id_, now)

    def with_items(self, owner: str, item_ids: Iterable[str], now: float) -> dict[str, Kept]:
        """Of each of these items the last response of *owner* that has it, if there is one."""
        shelf = self._shelf(owner, now)
        found = {item_id: shelf.use(shelf.by_item.get(item_id, ""), now) for item_id in item_ids}
        return {item_id: kept for item_id, kept in found.items() if kept}

    def conversation(self, owner: str, id_: str, now: float) -> list[Kept]:
        """A response and all those before it, the first one first.

        Raises:
            PreviousResponseNotFound: One of them is not there.
        """
        shelf = self._shelf(owner, now)
        found: list[Kept] = []
        next_id: str | None = id_
        while next_id is not None:
            kept = shelf.use(next_id, now)
            if kept is None:
                gone = "it is" if next_id == id_ else "one that came before it is"
                raise PreviousResponseNotFound(
                    f"previous_response_id: {gone} not kept here, or no longer; send the items themselves",
                    param="previous_response_id",
                )
            found.append(kept)
            next_id = kept.previous_id
        return found[::-1]

    def delete(self, owner: str, id_: str, now: float) -> bool:
        """Forget a response of *owner*; whether it was there."""
        if self.get(owner, id_, now) is None:
            return False
        self._forget(owner, id_)
        return True

    def _shelf(self, owner: str, now: float) -> _Shelf:
        """What *owner* keeps, which may be nothing."""
        self._forget_unused(now)
        return self._shelves.get(owner) or _Shelf()

    def _forget_unused(self, now: float) -> None:
        for owner in list(self._shelves):
            while (shelf := self._shelves.get(owner)) and shelf.oldest_use <= now - self._max_unused_s:
                self._forget(owner)

    def _forget(self, owner: str, id_: str | None = None) -> None:
        """Forget one, or the one of *owner* that was used longest ago."""
        shelf = self._shelves[owner]
        self.num_bytes -= shelf.remove(next(iter(shelf.kept)) if id_ is None else id_)
        if not shelf.kept:
            del self._shelves[owner]


@dataclass(slots=True)
class _Shelf:
    """What one owner keeps."""

    # By id, with the time of the last use; used longest ago first.
    kept: OrderedDict[str, tuple[Kept, float]] = field(default_factory=OrderedDict)
    # Item -> the last response that has it.
    by_item: dict[str, str] = field(default_factory=dict)
    num_bytes: int = 0

    @property
    def oldest_use(self) -> float:
        _, used = next(iter(self.kept.values()))
        return used

    def put(self, kept: Kept, now: float) -> None:
        self.kept[kept.id] = kept, now
        self.num_bytes += kept.num_bytes
        self.by_item |= dict.fromkeys(kept.item_ids, kept.id)

    def use(self, id_: str, now: float) -> Kept | None:
        if id_ not in self.kept:
            return None
        kept, _ = self.kept[id_]
        self.kept[id_] = kept, now
        self.kept.move_to_end(id_)
        return kept

    def remove(self, id_: str) -> int:
        """Forget one; how large it was, bytes."""
        kept, _ = self.kept.pop(id_)
        for item_id in kept.item_ids:
            if self.by_item.get(item_id) == id_:
                del self.by_item[item_id]
        self.num_bytes -= kept.num_bytes
        return kept.num_bytes
