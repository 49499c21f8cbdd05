"""A request's body to a row: everything that can be wrong with it is found here."""

from __future__ import annotations

from dataclasses import dataclass

from transports.errors import ContextLengthExceeded, RequestError, TaskNotSupported
from transports.messages import ChatRequest, CompletionRequest, Message
from workers.generation.detokenize import Vocabulary
from workers.generation.params import Defaults, resolve
from workers.generation.prompts import Prompts
from workers.generation.rows import Row
from workers.generation.stops import StopMatcher


@dataclass(frozen=True, slots=True)
class RequestReader:
    """What a model takes; makes rows of requests."""

    prompts: Prompts
    vocabulary: Vocabulary
    defaults: Defaults
    vocab_size: int
    context_length: int

    def row(self, request_id: str, body: Message, now: float) -> Row:
        """Check *body* and turn its prompt into tokens.

        Raises:
            RequestError: It cannot be served, whoever asks.
        """
        if not isinstance(body, (ChatRequest, CompletionRequest)):
            raise TaskNotSupported(f"expected a chat or completion request, got {type(body).__name__}")
        params = resolve(body.sampling, self.defaults, self.vocab_size)
        is_chat = isinstance(body, ChatRequest)
        if isinstance(body, ChatRequest):
            if body.images:
                raise RequestError("messages: this model takes text only, got images", param="messages")
            prompt, echo = self.prompts.chat(body.messages), ""
        else:
            prompt = self.prompts.completion(body.prompt)
            echo = self._echo(body, prompt)
        return Row(
            id=request_id,
            prompt=prompt,
            params=params,
            max_tokens=self._max_tokens(body.max_tokens, len(prompt), "messages" if is_chat else "prompt"),
            ignores_eos=body.ignore_eos,
            num_top_logprobs=body.top_logprobs,
            detokenizer=self.vocabulary.detokenizer(),
            stops=StopMatcher(body.stop),
            arrived=now,
            echo=echo,
            strips_space=is_chat and self.vocabulary.leads_with_space,
        )

    def _echo(self, body: CompletionRequest, prompt: list[int]) -> str:
        if not body.echo:
            return ""
        if body.top_logprobs is not None:
            raise RequestError(
                "logprobs: not available for the prompt: leave out echo or logprobs", param="echo"
            )
        if isinstance(body.prompt, str):
            return body.prompt
        detokenizer = self.vocabulary.detokenizer()
        return "".join(detokenizer.add(token) for token in prompt)

    def _max_tokens(self, wanted: int | None, num_prompt: int, param: str) -> int:
        room = self.context_length - num_prompt
        if room < 1:
            raise ContextLengthExceeded(
                f"{param}: expected at most {self.context_length - 1} tokens, one less than this model's "
                f"context, got {num_prompt}",
                param=param,
            )
        if wanted is None:
            return room
        if wanted > room:
            raise ContextLengthExceeded(
                f"max_tokens: expected at most {room}: the model's context of {self.context_length} less "
                f"{num_prompt} tokens of prompt, got {wanted}",
                param="max_tokens",
            )
        if wanted < 1:
            raise RequestError(f"max_tokens: expected at least 1, got {wanted}", param="max_tokens")
        return wanted
