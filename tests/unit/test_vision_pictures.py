"""Pictures in a prompt and in the store of seen ones, without a model."""

from __future__ import annotations

import hashlib

from transports.messages import ChatMessage, ChatRequest, Sampling
from workers.generation.params import Defaults, resolve
from workers.generation.stop_strings import StopMatcher
from workers.vision.pictures import Picture, Seen, SeenPictures
from workers.vision.rows import VisionRow

PAD = 900


def picture(name: str) -> Picture:
    return Picture(digest=hashlib.sha256(name.encode()).digest(), width=2, height=1, pixels=b"\0" * 6)


def seen(num_tokens: int = 3, size_bytes: int = 10) -> Seen:
    return Seen(tokens=[PAD] * num_tokens, features={}, grid=None, size_bytes=size_bytes)


class NoText:
    def add(self, token: int) -> str:
        return ""


def row(*pieces: list[int] | int, pictures: tuple[Picture, ...] = ()) -> VisionRow:
    """With all pictures seen, as three tokens each."""
    made = VisionRow(
        id="request-1",
        prompt=[],
        params=resolve(Sampling(), Defaults(), 1000),
        max_tokens=10,
        ignores_eos=False,
        num_top_logprobs=None,
        detokenizer=NoText(),
        stops=StopMatcher(()),
        arrived=0.0,
        request=ChatRequest(messages=(ChatMessage(role="user", content=""),)),
        pieces=pieces,
        pictures=pictures,
    )
    made.seen = {piece: seen() for piece in pieces if isinstance(piece, int)}
    made.complete()
    return made


A, B = picture("a"), picture("b")


def test_tokens_of_pictures_stand_in_their_places() -> None:
    assert row([1, 2], 0, [3], 1, [], pictures=(A, B)).prompt == [1, 2, PAD, PAD, PAD, 3, PAD, PAD, PAD]


def test_one_picture_may_stand_in_two_places() -> None:
    one = row([1], 0, [2], 0, [3], pictures=(A,))

    assert one.prompt == [1, PAD, PAD, PAD, 2, PAD, PAD, PAD, 3]
    assert list(one.parts(0, 9)) == [(None, 0, 1), (0, 0, 3), (None, 4, 5), (0, 0, 3), (None, 8, 9)]


def test_the_cache_key_tells_pictures_apart_and_text_from_pictures() -> None:
    with_a, with_b = row([1], 0, [2], pictures=(A,)), row([1], 0, [2], pictures=(B,))
    typed = row([1, PAD, PAD, PAD, 2])

    keys = [one.cache_key(one.tokens) for one in (with_a, with_b, typed)]
    assert keys[0][1] != keys[1][1] != keys[2][1] != keys[0][1]
    assert list(keys[2]) == typed.prompt
    assert all(key < 2**64 for key in keys[0])
    assert keys[0] == row([1], 0, [2], pictures=(A,)).cache_key(with_a.tokens)


def test_the_cache_key_of_a_part_and_of_an_answer() -> None:
    one = row([1], 0, [2], pictures=(A,))

    assert list(one.cache_key([*one.prompt, 7, 8])) == [1, A.key, A.key, A.key, 2, 7, 8]
    assert list(one.cache_key(one.prompt[:2])) == [1, A.key]


def test_every_part_of_a_prompt_is_cut_at_its_borders() -> None:
    """All chunks of all sizes give the same tokens, in order, from the right place."""
    one = row([1, 2], 0, 1, [3], pictures=(A, B))
    origin = [(None, 0), (None, 1), (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (None, 8)]

    for start in range(9):
        for end in range(start, 10):
            places = [
                (which, place)
                for which, begin, close in one.parts(start, end)
                for place in range(begin, close)
            ]
            assert places == origin[start:end]


def test_the_pictures_used_longest_ago_go_first() -> None:
    store = SeenPictures(25)
    one, two, three = seen(), seen(), seen()
    store.keep(b"1", one)
    store.keep(b"2", two)
    store.find(b"1")
    store.keep(b"3", three)

    assert store.find(b"2") is None
    assert (store.find(b"1"), store.find(b"3")) == (one, three)
    assert store.size_bytes == 20


def test_what_has_no_room_is_not_kept() -> None:
    store = SeenPictures(9)
    store.keep(b"1", seen())

    assert store.find(b"1") is None
    assert store.size_bytes == 0
