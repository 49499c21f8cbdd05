"""A row's grammar: which tokens may come next, and whether it is complete. Knows no mlx."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from transports.errors import MlxdError, RequestError, WorkerError
from transports.logs import get_logger
from transports.messages import Grammar
from workers.generation.call_grammars import CallsOrAnswer
from workers.generation.thoughts import ThinkingTokens, Thoughts

log = get_logger()

# Any: numpy has no types in the environment that is checked. Shape (num_words,), int32, a bit a token.
Words = Any

_ALL_BITS = 0xFFFFFFFF


class Matcher(Protocol):
    """What is used of `llguidance.LLMatcher`, which reports errors by `is_error` and never raises them."""

    def deep_copy(self) -> Matcher: ...
    def consume_token(self, sampled_token: int) -> bool: ...
    def is_stopped(self) -> bool: ...
    def is_error(self) -> bool: ...
    def get_error(self) -> str: ...
    def unsafe_compute_mask_ptr(self, trg_pointer: int, trg_byte_size: int) -> None: ...


class Grammars(Protocol):
    """Where matchers come from."""

    def compile(self, grammar: Grammar | CallsOrAnswer) -> Future[Matcher]:
        """The matcher at the grammar's beginning, for copies. The future may end in a RequestError."""
        ...

    def close(self) -> None:
        """Nothing will be compiled any more."""
        ...


class Constraint:
    """What one row's answer must keep to, once it has done with thinking."""

    def __init__(
        self,
        compiled: Future[Matcher],
        param: str,
        tokens: ThinkingTokens,
        prompt: Sequence[int],
        eos_tokens: Collection[int],
    ) -> None:
        """
        Args:
            compiled: The grammar at its beginning; shared with other rows, and never changed.
            param: What the request calls the grammar.
            prompt: The row's, as far as it says whether the model is thinking.
            eos_tokens: They end an answer, and none may come among its thoughts.
        """
        self._compiled = compiled
        self._param = param
        self._tokens = tokens
        self._prompt = prompt
        self._eos_tokens = eos_tokens
        self._matcher: Matcher | None = None
        self._thoughts = Thoughts(tokens, prompt)
        self._is_fed = False
        # Why the row cannot go on.
        self.error: MlxdError | None = None

    @property
    def compiled(self) -> Future[Matcher]:
        """Done when the row may join the batch."""
        return self._compiled

    @property
    def refusal(self) -> MlxdError | None:
        """Why the grammar cannot be used, once it is compiled."""
        error = self._compiled.exception()
        if error is None or isinstance(error, MlxdError):
            return error
        log.error("grammar_failed", exc_info=error)
        return WorkerError("the grammar could not be compiled; the worker's log has the cause")

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow."""
        if self.error is not None or self._matcher is None or not self._thoughts.is_over:
            return False
        # A matcher with an error counts as stopped.
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def begin(self, answer: Sequence[int]) -> None:
        """Go to where *answer* ends; its last token, or the prompt's, is fed next."""
        self._matcher = self._compiled.result().deep_copy()
        self._thoughts = Thoughts(self._tokens, self._prompt)
        self._is_fed = False
        for token in answer:
            self._consume(token)

    def advance(self, fed: int, words: Words) -> None:
        """Take the token that the row was given, and write down which may follow.

        Takes long for some grammars; the caller does not wait for ever.
        """
        if self._is_fed:
            self._consume(fed)
        self._is_fed = True
        thoughts = self._thoughts
        if self._matcher is None or self.is_complete:
            return
        # Unsigned: the highest bit of a word is the sign of an int32.
        bits = words.view("uint32")
        if thoughts.is_thinking:
            # An answer that ends within its thoughts does not keep to anything.
            for eos in self._eos_tokens:
                bits[eos // 32] &= _ALL_BITS ^ (1 << (eos % 32))
            return
        if thoughts.has_begun:
            words[:] = 0
        else:
            self._matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
            if self._matcher.is_error():
                self.fail("too complex: llguidance's limit for one token is met here")
                return
        if (token := thoughts.next_of_start) is not None:
            bits[token // 32] |= 1 << (token % 32)

    def fail(self, reason: str) -> None:
        """Note that the row cannot go on."""
        self.error = RequestError(f"{self._param}: {reason}", param=self._param)

    def _consume(self, token: int) -> None:
        if not self._thoughts.feed(token) and self._matcher is not None:
            self._matcher.consume_token(token)
