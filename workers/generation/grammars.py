"""Grammars of requests to llguidance's matchers: compiled in a thread, after a trial, and kept."""

from __future__ import annotations

import json
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, regex_to_lark

from transports.errors import RequestError
from transports.messages import Grammar
from workers.generation.call_grammars import ANSWER, CallsOrAnswer
from workers.generation.constraint import Matcher
from workers.generation.grammar_trial import GrammarTrial, TrialOrder
from workers.generation.schemas import SCHEMA_OPTIONS, check_schema, without_leap_seconds, without_unnamed

# Any: a tokenizer of transformers; it has no types.
Tokenizer = Any

# Of compiled grammars that nobody uses; most take some 100 kB, those with many literals a few MB.
MAX_KEPT = 32
MAX_KEPT_CHARS = 512 * 1024
# Work for one token: llguidance's defaults would take up to 15 ms, and 0.5 GB for the states of one grammar.
LIMITS = {"step_lexer_fuel": 100_000, "step_max_items": 50_000, "max_lexer_states": 50_000}
_MAX_REASON = 300


class GrammarCompiler:
    """Makes the matchers of one model. Called from the engine's thread only."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_tokens: frozenset[int]) -> None:
        """Begin to make llguidance's tables of the vocabulary, in a thread.

        llguidance holds Python's lock meanwhile, and no answer would go on: to be called while a model loads.

        Args:
            tokenizer: As transformers has it, without mlx-lm's wrapper.
            vocab_size: Of the logits, which may be more than the tokenizer knows.
            eos_tokens: One of them ends an answer whose grammar is satisfied.
        """
        self._source = tokenizer
        self._vocab_size = vocab_size
        self._eos_tokens = sorted(eos_tokens)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar")
        # Least recently used first.
        self._kept: OrderedDict[Grammar | CallsOrAnswer, Future[Matcher]] = OrderedDict()
        self._tables = self._thread.submit(self._prepare, vocab_size)

    def settle(self, vocab_size: int) -> None:
        """Wait until the first grammar can be compiled, for logits of *vocab_size* numbers."""
        if vocab_size != self._vocab_size:
            self._vocab_size = vocab_size
            self._tables = self._thread.submit(self._prepare, vocab_size)
        wait([self._tables])

    def compile(self, grammar: Grammar | CallsOrAnswer) -> Future[Matcher]:
        """The matcher at the grammar's beginning, for copies. The future may end in a RequestError."""
        future = self._kept.get(grammar)
        if future is None:
            future = self._kept[grammar] = self._thread.submit(self._compile, grammar)
        self._kept.move_to_end(grammar)
        self._forget()
        return future

    def close(self) -> None:
        """End the thread and the trial's process; what is not compiled yet never will be."""
        self._kept.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._tables.exception() is None:
            self._tables.result()[1].close()

    def _forget(self) -> None:
        while len(self._kept) > 1 and (
            len(self._kept) > MAX_KEPT or sum(len(one.text) for one in self._kept) > MAX_KEPT_CHARS
        ):
            self._kept.popitem(last=False)

    def _compile(self, grammar: Grammar | CallsOrAnswer) -> Matcher:
        """In the thread."""
        text = _either(grammar) if isinstance(grammar, CallsOrAnswer) else _as_llguidance(grammar)
        if (error := self._tables.exception()) is not None:
            raise refused(grammar.param, f"this model's tokenizer cannot be used with grammars: {error}")
        tokenizer, trial = self._tables.result()
        trial.check(text, grammar.param)
        # Without Python's lock; the trial has shown that it takes no longer than that.
        limits = LLParserLimits(**LIMITS, verbose_errors=False)
        matcher: Matcher = LLMatcher(tokenizer, text, log_level=0, limits=limits)
        if matcher.is_error():
            raise refused(grammar.param, matcher.get_error())
        return matcher

    def _prepare(self, vocab_size: int) -> tuple[LLTokenizer, GrammarTrial]:
        """In the thread."""
        backend = getattr(self._source, "backend_tokenizer", None)
        if backend is None:
            raise ValueError("it is no fast one, with a tokenizer.json")
        order = TrialOrder(
            tokenizer=backend.to_str(),
            vocab_size=vocab_size,
            eos_tokens=self._eos_tokens,
            limits=LIMITS,
        )
        return order.llguidance_tokenizer(), GrammarTrial(order)


def refused(param: str, reason: str) -> RequestError:
    """The error for a grammar that llguidance does not take, with its words on one line."""
    return RequestError(f"{param}: {' '.join(reason.split())[:_MAX_REASON]}", param=param)


def _either(grammar: CallsOrAnswer) -> str:
    """Both as one, in llguidance's own format: parts of it know each other by name.

    Raises:
        RequestError: As `_as_llguidance`.
    """
    answer = _as_llguidance(grammar.answer)
    # A JSON Schema is such a collection already, Lark is a text.
    part = (
        json.loads(answer)["grammars"][0]
        if grammar.answer.kind == "json_schema"
        else {"lark_grammar": answer}
    )
    return json.dumps({"grammars": [{"lark_grammar": grammar.calls.text}, {**part, "name": ANSWER}]})


def _as_llguidance(grammar: Grammar) -> str:
    """The grammar in llguidance's own format.

    Raises:
        RequestError: A schema that is no JSON, is too deep, or has a keyword that nobody would obey.
    """
    if grammar.kind == "regex":
        # \d, \w and \s are ASCII, as in JSON Schema.
        return str(LLMatcher.grammar_from_lark(f"start: /{regex_to_lark(grammar.text, 'dws')}/"))
    if grammar.kind == "lark":
        return str(LLMatcher.grammar_from_lark(grammar.text))
    try:
        schema = json.loads(grammar.text)
    except (ValueError, RecursionError):
        raise RequestError(f"{grammar.param}: expected JSON", param=grammar.param) from None
    if not isinstance(schema, dict | bool):
        raise RequestError(f"{grammar.param}: expected a JSON Schema, an object", param=grammar.param)
    check_schema(schema, grammar.param)
    compiled = json.dumps(without_leap_seconds(without_unnamed(schema)))
    return str(LLMatcher.grammar_from_json_schema(compiled, overrides=SCHEMA_OPTIONS))
