"""Several answers to one prompt: how they are asked for, counted, and which of them are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from plugins.openai.answer import Answer
from plugins.openai.requests import MAX_CHOICES, CompletionBody, GenerateBody
from transports.errors import RequestError
from transports.messages import ChatRequest, Generate, Image, Usage

_SEEDS = 2**64
_HIGHEST_SEED = 2**63 - 1

T = TypeVar("T")
AnyRequest = TypeVar("AnyRequest", bound=Generate)


@dataclass(frozen=True, slots=True)
class Choices:
    """How many answers there are to each prompt of a request."""

    num_given: int = 1
    # More than that: the best are given.
    num_made: int = 1

    def requests(self, prompts: Sequence[AnyRequest]) -> list[AnyRequest]:
        """The bodies of submit: to each prompt its answers, one after the other.

        Each is a request of its own with the same prompt, which a worker reads once.
        """
        return [self._request(prompt, choice) for prompt in prompts for choice in range(self.num_made)]

    @staticmethod
    def images(prompts: Sequence[Generate]) -> tuple[Image, ...]:
        """What all answers look at."""
        return tuple(one for prompt in prompts if isinstance(prompt, ChatRequest) for one in prompt.images)

    def usage(self, usages: Sequence[Usage]) -> Usage:
        """Of all answers, in the order of `requests`; a prompt counts once."""
        groups = self._groups(usages)
        return Usage(
            prompt_tokens=sum(group[0].prompt_tokens for group in groups),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
            # The others found what the first one read.
            cached_tokens=sum(min(usage.cached_tokens for usage in group) for group in groups),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
        )

    def given(self, answers: Sequence[Answer]) -> list[Answer]:
        """The answers that are given, of all of them in the order of `requests`."""
        if self.num_made == self.num_given:
            return list(answers)
        return [
            answer
            for group in self._groups(answers)
            for answer in sorted(group, key=_likelihood, reverse=True)[: self.num_given]
        ]

    def _groups(self, every: Sequence[T]) -> list[Sequence[T]]:
        """Those of each prompt."""
        return [every[at : at + self.num_made] for at in range(0, len(every), self.num_made)]

    def _request(self, prompt: AnyRequest, choice: int) -> AnyRequest:
        seed = prompt.sampling.seed
        if seed is not None:
            sampling = msgspec.structs.replace(prompt.sampling, seed=seed_of(seed, choice))
            prompt = msgspec.structs.replace(prompt, sampling=sampling)
        if self.num_made > self.num_given and prompt.top_logprobs is None:
            prompt = msgspec.structs.replace(prompt, top_logprobs=0)
        return prompt


def choices_of(body: GenerateBody) -> Choices:
    """What *body* says of them.

    Raises:
        RequestError: It asks for more than are made, or for too many.
    """
    num_given = body.n or 1
    num_made, num_prompts = num_given, 1
    if isinstance(body, CompletionBody):
        num_made = body.best_of or num_given
        num_prompts = len(body.prompt) if _is_list_of_prompts(body.prompt) else 1
    if num_made < num_given:
        raise RequestError(f"best_of: expected at least n, {num_given}, got {num_made}", param="best_of")
    if num_made > num_given and body.stream:
        raise RequestError(
            "best_of: not with stream: which answers are the best is known when all have ended",
            param="best_of",
        )
    if num_made * num_prompts > MAX_CHOICES:
        raise RequestError(
            f"n: expected at most {MAX_CHOICES} answers in all, got {num_made} to each of {num_prompts}",
            param="n",
        )
    return Choices(num_given, num_made)


def seed_of(seed: int, choice: int) -> int:
    """The seed of a choice, counted from 0; after the highest seed comes the lowest."""
    seed += choice
    return seed - _SEEDS if seed > _HIGHEST_SEED else seed


def _is_list_of_prompts(prompt: object) -> bool:
    return isinstance(prompt, list) and not isinstance(prompt[0], int)


def _likelihood(answer: Answer) -> float:
    """The mean log probability of an answer's own tokens, as OpenAI ranks them."""
    num_tokens = answer.end.usage.completion_tokens if answer.end else 0
    own = answer.logprobs[-num_tokens:] if num_tokens else []
    return sum(one.logprob for one in own) / len(own) if own else 0.0
