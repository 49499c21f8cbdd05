"""Stop strings: the text before the first complete one, however the text is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.generation.stop_strings import StopMatcher


def fed(stops: list[str], pieces: list[str]) -> tuple[str, str | None]:
    matcher = StopMatcher(stops)
    shown = ""
    for piece in pieces:
        shown += matcher.feed(piece)
        if matcher.found is not None:
            return shown, matcher.found
    return shown + matcher.flush(), None


def expected(stops: list[str], text: str) -> tuple[str, str | None]:
    """The definition: the first character that completes a stop string; then the longest one."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            found = max(complete, key=len)
            return text[: end - len(found)], found
    return text, None


def test_a_stop_string_is_cut_out_with_what_follows() -> None:
    assert fed(["of"], ["The capital of France"]) == ("The capital ", "of")


def test_a_stop_string_across_pieces_is_found() -> None:
    assert fed(["capital of"], ["The ca", "pit", "al o", "f Fr"]) == ("The ", "capital of")


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    matcher = StopMatcher(["###"])

    assert [matcher.feed("a#"), matcher.feed("#"), matcher.feed("b")] == ["a", "", "##b"]


def test_nothing_is_held_back_without_need() -> None:
    matcher = StopMatcher(["END"])

    assert matcher.feed("some text") == "some text"
    assert matcher.flush() == ""


def test_held_text_comes_out_at_the_end() -> None:
    assert fed(["END"], ["the EN"]) == ("the EN", None)


def test_the_first_complete_stop_string_wins() -> None:
    """The longer one begins earlier, but is not complete when the other is."""
    assert fed(["abcd", "bc"], ["xabcd"]) == ("xa", "bc")


def test_of_two_that_end_together_the_longer_wins() -> None:
    assert fed(["c", "abc"], ["xab", "c"]) == ("x", "abc")


SMALL_TEXT = st.text(alphabet="ab ", min_size=0, max_size=12)


@given(
    stops=st.lists(st.text(alphabet="ab ", min_size=1, max_size=4), max_size=4),
    pieces=st.lists(SMALL_TEXT, max_size=8),
)
def test_the_cut_of_the_text_does_not_matter(stops: list[str], pieces: list[str]) -> None:
    assert fed(stops, pieces) == expected(stops, "".join(pieces))


@given(stops=st.lists(st.text(min_size=1, max_size=4), max_size=4), pieces=st.lists(SMALL_TEXT, max_size=8))
def test_held_text_is_shorter_than_the_longest_stop_string(stops: list[str], pieces: list[str]) -> None:
    matcher = StopMatcher(stops)
    num_fed = num_shown = 0
    for piece in pieces:
        if matcher.found is None:
            num_fed += len(piece)
            num_shown += len(matcher.feed(piece))

    held = num_fed - num_shown

    assert matcher.found is not None or held < max(map(len, stops), default=1)
