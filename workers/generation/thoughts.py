"""Where in an answer a model thinks, by its tokens. Knows no mlx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Templates put white space behind the start of thoughts, and behind the end of those that are not wanted.
# Tags further ahead are those of earlier turns, or words about them.
_TOKENS_AFTER_TAG = 4


@dataclass(frozen=True, slots=True)
class ThinkingTokens:
    """What a model writes before and after it thinks; both are empty for one that does not."""

    start: tuple[int, ...] = ()
    end: tuple[int, ...] = ()


NO_THINKING = ThinkingTokens()


class Thoughts:
    """Follows one answer: thoughts may come first, and once they are over there are no more."""

    def __init__(self, tokens: ThinkingTokens, prompt: Sequence[int]) -> None:
        """Nothing is said yet.

        Args:
            prompt: Shows whether the template has opened the thoughts, or opened and closed them.
        """
        self._tokens = tokens
        # How much of the start was said; as much as there is when the model thinks.
        self._num_started = 0
        self._said: list[int] = []
        opened, closed = _last(prompt, tokens.start), _last(prompt, tokens.end)
        is_closed = closed > opened and len(prompt) - closed - len(tokens.end) <= _TOKENS_AFTER_TAG
        self.is_over = not tokens.start or not tokens.end or is_closed
        if opened > closed and len(prompt) - opened - len(tokens.start) <= _TOKENS_AFTER_TAG:
            self._num_started = len(tokens.start)

    @property
    def is_thinking(self) -> bool:
        """Whether any token may follow."""
        return not self.is_over and self._num_started == len(self._tokens.start)

    @property
    def next_of_start(self) -> int | None:
        """The token that begins thoughts, or goes on beginning them; None where they cannot begin."""
        return None if self.is_over or self.is_thinking else self._tokens.start[self._num_started]

    @property
    def has_begun(self) -> bool:
        """Whether the start is half said: nothing but its next token may follow."""
        return not self.is_over and 0 < self._num_started < len(self._tokens.start)

    def feed(self, token: int) -> bool:
        """Take the next token; whether it belongs to the thoughts."""
        if self.is_over:
            return False
        if self.is_thinking:
            self._said = [*self._said, token][-len(self._tokens.end) :]
            self.is_over = tuple(self._said) == self._tokens.end
            return True
        if token == self.next_of_start:
            self._num_started += 1
            return True
        self.is_over = True
        return False


class ThoughtLimit:
    """Ends thoughts after a number of tokens: says which token is forced at a place of the answer.

    Thoughts that the prompt opened get exactly so many. Of those that the model opens itself it is known
    only when their first token is computed: they get at least one.
    """

    def __init__(self, max_tokens: int, end: tuple[int, ...], *, is_thinking: bool) -> None:
        """
        Args:
            max_tokens: Of thoughts.
            end: What ends them.
            is_thinking: The prompt has opened them.
        """
        self._max_tokens = max_tokens
        self._end = end
        # Where in the answer the end is forced.
        self._place = max_tokens if is_thinking else None

    def forced(self, place: int) -> int | None:
        """The token that must be there; None where any may."""
        if self._place is None or not 0 <= place - self._place < len(self._end):
            return None
        return self._end[place - self._place]

    def follow(self, num_said: int, *, is_thinking: bool) -> None:
        """Note where the answer is.

        Args:
            num_said: Tokens of the answer; the one after them is computed already.
        """
        if not is_thinking:
            self._place = None
        elif self._place is None:
            self._place = num_said + max(1, self._max_tokens)


def _last(tokens: Sequence[int], part: tuple[int, ...]) -> int:
    """Where *part* begins for the last time, or -1."""
    if not part:
        return -1
    for at in range(len(tokens) - len(part), -1, -1):
        if tokens[at] == part[0] and tuple(tokens[at : at + len(part)]) == part:
            return at
    return -1
