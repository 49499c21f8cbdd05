"""What is kept of responses: within limits, for its owner alone, and only as long as somebody uses it."""

from __future__ import annotations

import random

import pytest

from plugins.responses.store import ITEM_BYTES, RESPONSE_BYTES, Kept, ResponseStore
from transports.errors import PreviousResponseNotFound


def kept(id_: str, *, previous: str | None = None, num_bytes: int = 0, items: tuple[str, ...] = ()) -> Kept:
    return Kept(id=id_, previous_id=previous, input=bytes(num_bytes), response=b"", item_ids=items)


def found(store: ResponseStore, owner: str, ids: str, now: float = 0) -> str:
    return "".join(id_ for id_ in ids if store.get(owner, id_, now))


def test_the_one_used_longest_ago_goes_first() -> None:
    store = ResponseStore(2, 1 << 20, 10)
    for id_ in "ab":
        store.put("", kept(id_), 0)
    store.get("", "a", 0)
    store.put("", kept("c"), 0)

    assert "ac" == found(store, "", "abc")


def test_whoever_keeps_most_makes_room() -> None:
    """A flood of one owner takes nothing from another."""
    store = ResponseStore(4, 1 << 20, 10)
    store.put("ann", kept("a"), 0)
    for id_ in "bcdefg":
        store.put("bob", kept(id_), 0)

    assert ("a", "efg") == (found(store, "ann", "a"), found(store, "bob", "bcdefg"))


def test_bytes_have_a_limit() -> None:
    store = ResponseStore(100, 4 * RESPONSE_BYTES, 10)
    kept_at_all = [
        store.put("", kept("a", num_bytes=RESPONSE_BYTES), 0),
        store.put("", kept("b", num_bytes=3 * RESPONSE_BYTES + 1), 0),
        store.put("", kept("c", items=tuple("x" for _ in range(4 * RESPONSE_BYTES // ITEM_BYTES))), 0),
        store.put("", kept("d", num_bytes=RESPONSE_BYTES + 1), 0),
    ]

    assert [True, False, False, True] == kept_at_all
    assert "d" == found(store, "", "abcd")


def test_what_nobody_used_for_long_is_forgotten() -> None:
    store = ResponseStore(10, 1 << 20, 10)
    for id_ in "ab":
        store.put("", kept(id_), 0)
    store.get("", "a", 6)

    assert "a" == found(store, "", "ab", now=10)
    assert (1, RESPONSE_BYTES) == (len(store), store.num_bytes)


def test_nothing_is_kept_where_none_may_be() -> None:
    store = ResponseStore(0, 1 << 20, 10)

    assert not store.has_room(0)
    assert not store.put("", kept("a"), 0)


def test_owners_see_only_their_own() -> None:
    store = ResponseStore(10, 1 << 20, 10)
    store.put("ann", kept("a", items=("m",)), 0)

    assert store.get("bob", "a", 0) is None
    assert store.with_items("bob", ["m"], 0) == {}
    assert not store.delete("bob", "a", 0)
    assert store.with_items("ann", ["m", "n"], 0) == {"m": store.get("ann", "a", 0)}
    assert store.delete("ann", "a", 0)
    assert store.with_items("ann", ["m"], 0) == {}


def test_a_conversation_is_whole_or_refused() -> None:
    store = ResponseStore(10, 1 << 20, 10)
    for id_, previous in (("a", None), ("b", "a"), ("c", "b")):
        store.put("", kept(id_, previous=previous), 0)

    assert ["a", "b", "c"] == [one.id for one in store.conversation("", "c", 0)]
    store.delete("", "a", 0)
    with pytest.raises(PreviousResponseNotFound, match="one that came before it"):
        store.conversation("", "c", 0)
    with pytest.raises(PreviousResponseNotFound, match="it is not kept"):
        store.conversation("", "d", 0)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_it_stays_within_its_limits(seed: int) -> None:
    dice = random.Random(seed)
    store = ResponseStore(8, 20 * RESPONSE_BYTES, 30)
    now, ids = 0.0, [str(i) for i in range(40)]
    for step in range(400):
        owner, id_ = dice.choice("abc"), dice.choice(ids)
        match dice.randrange(5):
            case 0 | 1:
                items = tuple(dice.sample("uvwxyz", dice.randrange(6)))
                store.put(owner, kept(f"{step}", num_bytes=dice.randrange(9000), items=items), now)
                ids[step % len(ids)] = f"{step}"
            case 2:
                store.delete(owner, id_, now)
            case 3:
                item = dice.choice("uvwxyz")
                assert all(item in one.item_ids for one in store.with_items(owner, [item], now).values())
            case _:
                now += dice.random() * 10

        assert len(store) <= 8
        assert 0 <= store.num_bytes <= 20 * RESPONSE_BYTES
    store.get("a", "", now + 100)
    assert (0, 0) == (len(store), store.num_bytes)
