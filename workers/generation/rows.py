"""One request inside the engine: its tokens, the text they make, and how it ends. Knows no mlx."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from transports.messages import Delta, Done, FinishReason, Item, Prefill, Timings, TokenLogprob, Usage
from transports.tokens import Tokens
from workers.generation.answers import AnswerReader
from workers.generation.constraint import Constraint
from workers.generation.detokenize import Detokenizer
from workers.generation.params import SamplingParams
from workers.generation.stop_strings import StopMatcher
from workers.generation.thoughts import ThoughtLimit


@dataclass(slots=True)
class Row:
    """The state of a request; it outlives the batch that it is in."""

    id: str
    prompt: list[int]
    params: SamplingParams
    # Resolved: prompt and this fit in the context.
    max_tokens: int
    ignores_eos: bool
    num_top_logprobs: int | None
    detokenizer: Detokenizer
    stops: StopMatcher
    # Monotonic seconds.
    arrived: float
    # Tells thoughts and calls from text; None where all is text.
    reader: AnswerReader | None = None
    # Of its thoughts.
    limit: ThoughtLimit | None = None
    # The prompt, for a request that wants it back at once.
    echo: str = ""
    # It wants the prompt back token by token, with logprobs; and how many tokens were given back.
    tells_prompt: bool = False
    num_told: int = 0
    # What is told of the prompt at the end, to a request that wants to know no more.
    told: Tokens | None = None
    # Whose keys and values it may find, and who finds its own.
    cache_salt: int = 0
    # Some vocabularies put a space before the first word of an answer.
    strips_space: bool = False
    # Ends at the tokens of `Fim.ends` too.
    fills_middle: bool = False
    # The grammar that the answer keeps to.
    constraint: Constraint | None = None
    # Tokens that left the batch, in order; the stop token is not among them.
    answer: list[int] = field(default_factory=list)
    num_generated: int = 0
    # In the batch, and its next token is not computed yet.
    is_reading: bool = False
    num_cached: int = 0
    first_delta: float | None = None
    _prompt_name: bytes = b""

    @property
    def prompt_name(self) -> bytes:
        """Equal for rows whose prompts have the same keys and values; not before the prompt is complete."""
        if not self._prompt_name:
            key = array("Q", self.cache_key(self.prompt)).tobytes()
            self._prompt_name = hashlib.sha256(key).digest()
        return self._prompt_name

    @property
    def tokens(self) -> list[int]:
        """Prompt and answer so far: what goes on from here in another batch."""
        return self.prompt + self.answer

    def cache_key(self, tokens: Sequence[int]) -> Sequence[int]:
        """What *tokens* are called in the prompt cache: equal only where keys, values and salt are."""
        names = self.token_names(tokens)
        if not self.cache_salt or not names:
            return names
        # The first is enough: only beginnings are found.
        return [names[0] ^ self.cache_salt << 32, *names[1:]]

    def token_names(self, tokens: Sequence[int]) -> Sequence[int]:
        """For each of *tokens* a number that stands for its keys and values, below 2**64."""
        return tokens

    @property
    def num_tokens(self) -> int:
        """Length of `tokens`."""
        return len(self.prompt) + len(self.answer)

    @property
    def num_left(self) -> int:
        """How many tokens may still come."""
        return self.max_tokens - len(self.answer)

    @property
    def must_tell_prompt(self) -> bool:
        """Whether tokens of the prompt are still to be given back."""
        return self.tells_prompt and self.num_told < len(self.prompt)

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string or the grammar is complete, or a call after which nothing is wanted."""
        return (
            self.stops.found is not None
            or (self.constraint is not None and self.constraint.is_complete)
            or (self.reader is not None and self.reader.is_complete)
        )

    def take(self, token: int, logprobs: Sequence[TokenLogprob], now: float) -> list[Item]:
        """Add a token of the answer; the text that can be shown now, if any."""
        self.answer.append(token)
        self.num_generated += 1
        text = self.detokenizer.add(token)
        if self.strips_space and text:
            text = text.removeprefix(" ")
            self.strips_space = False
        text = self.stops.feed(text)
        if self.reader is None:
            return self._delta(text, logprobs, now)
        items = self.reader.feed(text, logprobs)
        if self.limit is not None:
            self.limit.follow(len(self.answer), is_thinking=self.reader.is_thinking)
        return self._noted(items, now)

    def take_stop_token(self, logprobs: Sequence[TokenLogprob], now: float) -> list[Item]:
        """Count the token that ended the answer; it is no part of it.

        Its logprobs are told beside those of a prompt: lm-eval asks for one token and takes the last
        logprob for that one's.
        """
        self.num_generated += 1
        return self._delta("", logprobs if self.tells_prompt else (), now)

    def tell_prompt(self, end: int, logprobs: Sequence[TokenLogprob], now: float) -> list[Item]:
        """Give back the prompt up to the token *end*, but for what was given back before.

        Args:
            logprobs: Of the tokens before *end*, or none at all.
        """
        new = self.prompt[self.num_told : end]
        self.num_told = max(self.num_told, end)
        text = "".join(map(self.detokenizer.add, new))
        return self._delta(text, logprobs[len(logprobs) - len(new) :] if new and logprobs else (), now)

    def prefill(self, num_done: int) -> Prefill:
        """That so many tokens of the prompt are processed."""
        return Prefill(id=self.id, num_done=num_done, num_total=len(self.prompt))

    def start(self, now: float) -> list[Item]:
        """What is said before the first token."""
        echo, self.echo = self.echo, ""
        return self._delta(echo, (), now)

    def finish(self, reason: FinishReason, now: float) -> list[Item]:
        """The last text and the end.

        Bytes of a character that never became whole are dropped.
        """
        last = self._last(is_whole=reason == "stop" and self.stops.found is None, now=now)
        done = Done(
            id=self.id,
            finish_reason=self.reader.reason(reason) if self.reader else reason,
            stop=self.stops.found,
            usage=Usage(
                prompt_tokens=len(self.prompt),
                # With the stop token, as vLLM counts: it was computed like the others.
                completion_tokens=self.num_generated,
                cached_tokens=self.num_cached,
                reasoning_tokens=self.reader.num_thought if self.reader else 0,
            ),
            timings=Timings(
                ttft_s=(self.first_delta or now) - self.arrived,
                total_s=now - self.arrived,
            ),
        )
        told = [] if self.told is None else [self.told]
        return [*last, *told, done]

    def _last(self, *, is_whole: bool, now: float) -> list[Item]:
        """What was held back."""
        text = self.stops.flush()
        if self.reader is None:
            return self._delta(text, (), now)
        return self._noted(self.reader.finish(text, is_whole=is_whole), now)

    def _delta(self, text: str, logprobs: Sequence[TokenLogprob], now: float) -> list[Item]:
        if not text and not logprobs:
            return []
        return self._noted([Delta(id=self.id, text=text, logprobs=tuple(logprobs))], now)

    def _noted(self, items: list[Item], now: float) -> list[Item]:
        if items and self.first_delta is None:
            self.first_delta = now
        return items
