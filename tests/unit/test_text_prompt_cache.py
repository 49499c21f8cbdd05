"""The prompt cache: longest common beginning, least recently used out first, never over its bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.generation.prompt_cache import CacheHit, PromptCache


def filled(*entries: list[int], max_bytes: int = 100) -> PromptCache[str]:
    cache: PromptCache[str] = PromptCache(max_bytes)
    for tokens in entries:
        cache.store(tokens, f"cache of {tokens}", size_bytes=len(tokens))
    return cache


def test_the_longest_common_beginning_is_found() -> None:
    cache = filled([1, 2, 9], [1, 2, 3, 4], [7, 2, 3, 4])

    assert cache.match([1, 2, 3, 5]) == CacheHit(cache="cache of [1, 2, 3, 4]", num_cached=3, num_stored=4)


def test_an_exact_repeat_leaves_one_token_to_compute() -> None:
    assert filled([1, 2, 3]).match([1, 2, 3]) == CacheHit(
        cache="cache of [1, 2, 3]", num_cached=2, num_stored=3
    )


def test_a_shorter_prompt_hits_a_longer_entry() -> None:
    assert filled([1, 2, 3, 4]).match([1, 2]) == CacheHit(
        cache="cache of [1, 2, 3, 4]", num_cached=1, num_stored=4
    )


def test_nothing_in_common_is_no_hit() -> None:
    assert filled([1, 2, 3]).match([2, 2, 3]) is None
    assert filled([1, 2, 3]).match([1]) is None
    assert filled().match([1, 2]) is None


def test_a_short_beginning_is_no_hit_when_more_is_asked() -> None:
    assert filled([1, 2, 3]).match([1, 2, 9, 9], min_cached=3) is None


def test_tokens_are_compared_whole() -> None:
    """0x0100 and 0x0000 differ in their second byte only."""
    assert filled([1, 0x0100, 5]).match([1, 0x0000, 5]) == CacheHit(
        cache="cache of [1, 256, 5]", num_cached=1, num_stored=3
    )


def test_a_used_entry_outlives_an_older_one() -> None:
    cache = filled([1, 1], [2, 2], max_bytes=4)
    assert cache.match([1, 1, 1]) is not None

    cache.store([3, 3], "new", size_bytes=2)

    assert cache.match([1, 1, 1]) is not None
    assert cache.match([2, 2, 2]) is None


def test_an_entry_that_continues_another_replaces_it() -> None:
    cache = filled([1, 2], [1, 2, 3])

    assert len(cache) == 1
    assert cache.size_bytes == 3


def test_the_same_tokens_are_stored_once() -> None:
    assert filled([1, 2], [1, 2]).size_bytes == 2


def test_an_entry_larger_than_everything_is_not_kept() -> None:
    cache = filled([1, 2])

    cache.store([5] * 3, "too large", size_bytes=101)

    assert len(cache) == 1


@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(0, 2), min_size=1, max_size=6)), min_size=1, max_size=40
    )
)
def test_bytes_stay_in_the_limit_and_hits_are_true(actions: list[tuple[bool, list[int]]]) -> None:
    cache: PromptCache[list[int]] = PromptCache(max_bytes=12)
    for is_store, tokens in actions:
        if is_store:
            cache.store(tokens, tokens, size_bytes=len(tokens))
        elif hit := cache.match(tokens):
            assert hit.cache[: hit.num_cached] == tokens[: hit.num_cached]
            assert 1 <= hit.num_cached < len(tokens)
            assert hit.num_stored == len(hit.cache)

        assert 0 <= cache.size_bytes <= 12
