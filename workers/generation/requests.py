"""A request's body to a row: everything that can be wrong with it is found here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from transports.envelope import Message
from transports.errors import ContextLengthExceeded, RequestError, TaskNotSupported
from transports.messages import ChatRequest, CompletionRequest, Generate
from workers.generation.answers import PLAIN, AnswerFormat, AnswerReader
from workers.generation.constraint import Constraint, Grammars
from workers.generation.detokenize import TagDetokenizer, Vocabulary
from workers.generation.params import Defaults, resolve
from workers.generation.prompts import Prompts
from workers.generation.rows import Row
from workers.generation.stops import StopMatcher
from workers.generation.thoughts import NO_THINKING, ThinkingTokens
from workers.generation.tool_calls import Tools, tools_of
from workers.generation.turns import NO_FIELDS, Fields

AnyRow = TypeVar("AnyRow", bound=Row)

# Of the context, the most that is kept free for a middle of which nobody said how long it may be.
_MIDDLE_SHARE = 4


@dataclass(frozen=True, slots=True)
class ChatTerms:
    """What a chat says besides its messages."""

    # What the chat template is told.
    fields: Fields
    # What the answer may call.
    tools: Tools | None


NO_TERMS = ChatTerms(NO_FIELDS, None)


@dataclass(frozen=True, slots=True)
class RequestReader:
    """What a model takes; makes rows of requests."""

    prompts: Prompts
    vocabulary: Vocabulary
    defaults: Defaults
    vocab_size: int
    context_length: int
    grammars: Grammars
    thinking: ThinkingTokens = NO_THINKING
    # How the model writes thoughts and calls.
    form: AnswerFormat = PLAIN

    def row(self, request_id: str, body: Message, now: float) -> Row:
        """Check *body* and turn its prompt into tokens.

        Raises:
            RequestError: It cannot be served, whoever asks.
        """
        if isinstance(body, ChatRequest):
            if body.images:
                raise RequestError("messages: this model takes text only, got images", param="messages")
            terms = self.terms(body)
            prompt = self.prompts.chat(body.messages, terms.fields)
            return self.make_row(Row, request_id, body, prompt, now, terms)
        if isinstance(body, CompletionRequest):
            prompt = self.completion(body)
            return self.make_row(Row, request_id, body, prompt, now, echo=self.echo(body, prompt))
        raise TaskNotSupported(f"expected a chat or completion request, got {type(body).__name__}")

    def terms(self, body: ChatRequest) -> ChatTerms:
        """What *body* says of tools and thinking.

        Raises:
            RequestError: The model cannot do that.
        """
        tools = tools_of(body)
        if tools is not None and (self.form.calls is None or not self.prompts.shows_tools):
            why = "reads no tools" if self.form.calls else "has no way to call tools that is known here"
            raise TaskNotSupported(f"tools: this model's chat template {why}; leave them out", param="tools")
        if tools is not None and body.tool_choice.mode == "required":
            raise RequestError(
                'tool_choice: expected "auto" or "none"; calls cannot be forced yet', param="tool_choice"
            )
        return ChatTerms(self.prompts.told(tools, body.reasoning), tools)

    def make_row(
        self,
        make: Callable[..., AnyRow],
        request_id: str,
        body: Generate,
        prompt: list[int],
        now: float,
        terms: ChatTerms = NO_TERMS,
        **fields: object,
    ) -> AnyRow:
        """A row of a kind's own class for a prompt that is tokens already.

        Args:
            make: The class.
            fields: Those that only the caller knows.

        Raises:
            RequestError: A parameter is wrong, or prompt and answer do not fit.
        """
        is_chat = isinstance(body, ChatRequest)
        detokenizer = self.vocabulary.detokenizer()
        reader = self._answer_reader(request_id, prompt, terms.tools) if is_chat else None
        if reader is not None:
            detokenizer = TagDetokenizer(detokenizer, self.vocabulary, reader.shows)
        return make(
            id=request_id,
            prompt=prompt,
            params=resolve(body.sampling, self.defaults, self.vocab_size),
            max_tokens=self.max_tokens(
                body, len(prompt), "prompt without its pictures" if fields.get("pictures") else "prompt"
            ),
            ignores_eos=body.ignore_eos,
            num_top_logprobs=body.top_logprobs,
            detokenizer=detokenizer,
            reader=reader,
            stops=StopMatcher(body.stop),
            arrived=now,
            cache_salt=body.cache_salt,
            strips_space=is_chat and self.vocabulary.leads_with_space,
            tells_prompt=tells_prompt(body),
            constraint=self.constraint(body, prompt),
            fills_middle=isinstance(body, CompletionRequest) and body.suffix is not None,
            **fields,
        )

    def constraint(self, body: Generate, prompt: list[int]) -> Constraint | None:
        """The grammar of *body*, which is being compiled from here on."""
        if body.grammar is None:
            return None
        # A completion goes on with the prompt's text; nobody told the model to answer.
        thinking = self.thinking if isinstance(body, ChatRequest) else NO_THINKING
        compiled = self.grammars.compile(body.grammar)
        return Constraint(compiled, body.grammar.param, thinking, prompt)

    def completion(self, body: CompletionRequest) -> list[int]:
        """The prompt of a completion; with a suffix one that asks for the middle, cut to leave room for it.

        Raises:
            RequestError: As `Prompts.completion` and `Prompts.infill`.
        """
        if body.suffix is None:
            return self.prompts.completion(body.prompt)
        most = self.context_length // _MIDDLE_SHARE
        wanted = body.max_tokens or min(body.default_max_tokens or most, most)
        return self.prompts.infill(body.prompt, body.suffix, self.context_length - wanted)

    def _answer_reader(self, request_id: str, prompt: list[int], tools: Tools | None) -> AnswerReader | None:
        """None where an answer is text and nothing else."""
        start = self.form.think_start
        if not start and tools is None:
            return None
        is_thinking = bool(start) and self.prompts.ends_with(prompt, start)
        return AnswerReader(request_id, self.form, tools, is_thinking=is_thinking)

    def max_tokens(self, body: Generate, num_prompt: int, counted: str = "prompt") -> int:
        """How long the answer to *body* may be.

        Args:
            counted: What *num_prompt* is of, for the error.

        Raises:
            RequestError: The prompt leaves no room, or less than is wanted.
        """
        wanted, param = body.max_tokens, "messages" if isinstance(body, ChatRequest) else "prompt"
        room = self.context_length - num_prompt
        if room < (0 if wanted == 0 else 1):
            raise ContextLengthExceeded(
                f"{param}: expected at most {self.context_length - 1} tokens, one less than this model's "
                f"context, got {num_prompt}",
                param=param,
            )
        if wanted is None:
            return min(room, body.default_max_tokens or room)
        if wanted > room:
            raise ContextLengthExceeded(
                f"max_tokens: expected at most {room}: the model's context of {self.context_length} less "
                f"{num_prompt} tokens of {counted}, got {wanted}",
                param="max_tokens",
            )
        if wanted < 1 and not tells_prompt(body):
            raise RequestError(f"max_tokens: expected at least 1, got {wanted}", param="max_tokens")
        return wanted

    def echo(self, body: CompletionRequest, prompt: list[int]) -> str:
        """What is given back of the prompt at once."""
        if not body.echo or tells_prompt(body):
            return ""
        if isinstance(body.prompt, str):
            return body.prompt
        detokenizer = self.vocabulary.detokenizer()
        return "".join(detokenizer.add(token) for token in prompt)


def tells_prompt(body: Generate) -> bool:
    """Whether the prompt is given back token by token: with logprobs, or nothing comes after it."""
    return (
        isinstance(body, CompletionRequest)
        and body.echo
        and (body.top_logprobs is not None or body.max_tokens == 0)
    )
