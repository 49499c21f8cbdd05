"""A row's grammar: it begins after the thoughts, goes where the answer is, and ends or fails alone."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import pytest

from transports.errors import RequestError, WorkerError
from workers.generation.constraint import Constraint, Matcher
from workers.generation.thoughts import NO_THINKING, ThinkingTokens

THINK, END, EOS = 40, 41, 63
THINKING = ThinkingTokens((THINK,), (END,))
PROMPT = [1, 2]


@dataclass
class Spelling:
    """Stands for llguidance: allows one text of tokens."""

    text: Sequence[int]
    at: int = 0
    is_wrong: bool = False

    def deep_copy(self) -> Matcher:
        return replace(self)

    def consume_token(self, sampled_token: int) -> bool:
        self.is_wrong |= self.at >= len(self.text) or self.text[self.at] != sampled_token
        self.at += 1
        return not self.is_wrong

    def is_stopped(self) -> bool:
        return self.is_wrong or self.at == len(self.text)

    def is_error(self) -> bool:
        return self.is_wrong

    def get_error(self) -> str:
        return "wrong"

    def unsafe_compute_mask_ptr(self, trg_pointer: int, trg_byte_size: int) -> None:
        words = (ctypes.c_uint32 * (trg_byte_size // 4)).from_address(trg_pointer)
        words[:] = [0] * len(words)
        if not self.is_wrong:
            words[self.text[self.at] // 32] = 1 << (self.text[self.at] % 32)


class Words:
    """Stands for a row of numpy's: two words."""

    def __init__(self) -> None:
        self.array = (ctypes.c_uint32 * 2)(0xFFFFFFFF, 0xFFFFFFFF)
        self.nbytes = 8

    @property
    def ctypes(self) -> Words:
        return self

    @property
    def data(self) -> int:
        return ctypes.addressof(self.array)

    def view(self, _: str) -> object:
        return self.array

    def __setitem__(self, _: slice, value: int) -> None:
        self.array[:] = [value] * 2

    @property
    def allowed(self) -> list[int]:
        return [token for token in range(64) if self.array[token // 32] >> (token % 32) & 1]


def constraint(*text: int, tokens: ThinkingTokens = NO_THINKING) -> Constraint:
    compiled: Future[Matcher] = Future()
    compiled.set_result(Spelling(text))
    made = Constraint(compiled, "guided_regex", tokens, PROMPT, {EOS})
    made.begin([])
    return made


def allowed_after(made: Constraint, fed: int) -> list[int]:
    words = Words()
    made.advance(fed, words)
    return words.allowed


def test_the_last_token_of_the_prompt_is_no_part_of_the_answer() -> None:
    made = constraint(5, 6)

    assert allowed_after(made, PROMPT[-1]) == [5]
    assert allowed_after(made, 5) == [6]


def test_it_is_complete_when_nothing_may_follow() -> None:
    made = constraint(5)
    allowed_after(made, PROMPT[-1])

    assert not made.is_complete
    assert len(allowed_after(made, 5)) == 64
    assert made.is_complete


def test_a_row_that_comes_back_goes_on_where_its_answer_ends() -> None:
    made = constraint(5, 6, 7)
    for fed in (PROMPT[-1], 5, 6):
        allowed_after(made, fed)

    made.begin([5])

    assert allowed_after(made, 5) == [6]


def test_thoughts_may_come_first_and_are_free() -> None:
    made = constraint(5, tokens=THINKING)

    assert allowed_after(made, PROMPT[-1]) == [5, THINK]
    assert len(allowed_after(made, THINK)) > 60
    assert len(allowed_after(made, 9)) > 60
    assert allowed_after(made, END) == [5]


def test_no_answer_ends_within_its_thoughts() -> None:
    made = constraint(5, tokens=THINKING)
    allowed_after(made, PROMPT[-1])

    assert allowed_after(made, THINK) == [token for token in range(64) if token != EOS]


def test_without_thoughts_the_grammar_begins_at_once() -> None:
    made = constraint(5, 6, tokens=THINKING)
    allowed_after(made, PROMPT[-1])

    assert allowed_after(made, 5) == [6]


def test_a_start_that_is_half_said_is_finished() -> None:
    made = constraint(5, tokens=ThinkingTokens((THINK, 42), (END,)))
    allowed_after(made, PROMPT[-1])

    assert allowed_after(made, THINK) == [42]


def test_a_matcher_that_gives_up_fails_the_row_and_does_not_end_it() -> None:
    made = constraint(5, 6)
    allowed_after(made, PROMPT[-1])
    allowed_after(made, 9)

    assert not made.is_complete
    assert isinstance(made.error, RequestError)
    assert made.error.param == "guided_regex"


@pytest.mark.parametrize(
    ("raised", "expected"), [(RequestError("no"), RequestError), (KeyError("secret"), WorkerError)]
)
def test_what_compiling_raises_is_the_rows_failure(raised: Exception, expected: type) -> None:
    compiled: Future[Matcher] = Future()
    compiled.set_exception(raised)

    refusal = Constraint(compiled, "guided_regex", NO_THINKING, PROMPT, {EOS}).refusal

    assert isinstance(refusal, expected)
    assert "secret" not in refusal.message
