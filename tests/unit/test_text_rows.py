"""A request inside the engine: text, counts, and the end."""

from __future__ import annotations

from msgspec import structs

from transports.messages import Delta, Done, Sampling, TokenLogprob
from workers.generation.params import Defaults, resolve
from workers.generation.prompt_cache import PromptCache
from workers.generation.rows import Row
from workers.generation.stop_strings import StopMatcher

PARAMS = resolve(Sampling(), Defaults(), 10)
WORDS = [" one", " two", " three", ""]


class FakeDetokenizer:
    def add(self, token: int) -> str:
        return WORDS[token]


def row(
    *, stop: tuple[str, ...] = (), strips_space: bool = False, cache_salt: int = 0, tells_prompt: bool = False
) -> Row:
    return Row(
        id="request-1",
        prompt=[7, 8],
        params=PARAMS,
        max_tokens=5,
        ignores_eos=False,
        num_top_logprobs=None,
        detokenizer=FakeDetokenizer(),
        stops=StopMatcher(stop),
        arrived=10.0,
        strips_space=strips_space,
        cache_salt=cache_salt,
        tells_prompt=tells_prompt,
    )


def texts(items: list[Delta] | list[Delta | Done]) -> list[str]:
    return [item.text for item in items if isinstance(item, Delta)]


def test_a_token_is_text_and_counted() -> None:
    one = row()

    assert texts(one.take(0, (), 11.0)) == [" one"]
    assert one.tokens == [7, 8, 0]
    assert one.num_left == 4


def test_a_token_without_text_says_nothing() -> None:
    assert row().take(3, (), 11.0) == []


def test_logprobs_are_told_even_without_text() -> None:
    logprob = TokenLogprob(token="x", logprob=-1.0)

    (delta,) = row().take(3, (logprob,), 11.0)

    assert delta.logprobs == (logprob,)


def test_the_first_space_is_stripped_once() -> None:
    one = row(strips_space=True)

    assert [*texts(one.take(3, (), 1.0)), *texts(one.take(0, (), 1.0)), *texts(one.take(1, (), 1.0))] == [
        "one",
        " two",
    ]


def test_held_text_comes_with_the_end() -> None:
    one = row(stop=("two three four",))
    one.take(0, (), 11.0)
    assert one.take(1, (), 12.0) == [Delta(id="request-1", text=" ")]

    items = one.finish("length", 13.0)

    assert texts(items) == ["two"]


def test_a_stop_string_ends_it_and_is_not_shown() -> None:
    one = row(stop=("two",))
    one.take(0, (), 11.0)

    shown = texts(one.take(1, (), 12.0))

    assert shown == [" "]
    assert one.has_stopped
    (done,) = one.finish("stop", 12.0)
    assert isinstance(done, Done)
    assert done.stop == "two"


def test_usage_counts_the_stop_token() -> None:
    one = row()
    one.take(0, (), 11.0)
    one.take_stop_token((), 11.0)

    (done,) = one.finish("stop", 14.0)

    assert isinstance(done, Done)
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (2, 2)
    assert done.timings is not None
    assert structs.astuple(done.timings) == (1.0, 4.0)


def test_echo_is_said_once_and_first() -> None:
    one = row()
    one.echo = "the prompt"

    assert texts(one.start(11.0)) == ["the prompt"]
    assert one.start(11.0) == []


def test_another_salt_finds_nothing_in_the_prompt_cache() -> None:
    """vLLM CVE-2025-46570: the time to the first token told what somebody else had asked."""
    cache: PromptCache[str] = PromptCache(1000)
    ann, bob, nobody = row(cache_salt=1), row(cache_salt=2**32 - 1), row()
    tokens = list(range(20))
    cache.store(ann.cache_key(tokens), "of ann", 1)

    assert cache.match(ann.cache_key(tokens)) is not None
    assert cache.match(bob.cache_key(tokens)) is None
    assert cache.match(nobody.cache_key(tokens)) is None
    assert nobody.cache_key(tokens) == tokens
    assert ann.cache_key([]) == []


def test_a_prompt_is_given_back_once_however_often_it_is_read() -> None:
    one = row(tells_prompt=True)
    one.prompt = [0, 1, 2]
    scores = [TokenLogprob(token=str(n), logprob=-n) for n in range(3)]

    assert [item.text for item in one.tell_prompt(2, scores[:2], 11.0)] == [" one two"]
    assert one.must_tell_prompt
    # It was withdrawn, and is read again.
    assert one.tell_prompt(1, scores[:1], 12.0) == []
    (last,) = one.tell_prompt(3, scores, 13.0)
    assert (last.text, last.logprobs) == (" three", (scores[2],))
    assert not one.must_tell_prompt
