"""A request's body to a row: everything that can be wrong with it is found here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from transports.envelope import Message
from transports.errors import RequestError, TaskNotSupported
from transports.messages import ChatMessage, ChatRequest, CompletionRequest, Generate
from transports.tokens import Tokens
from workers.generation.answers import PLAIN, AnswerFormat
from workers.generation.chat_terms import ChatTerms, terms_of
from workers.generation.constraint import Constraint, Grammars
from workers.generation.detokenize import TagDetokenizer, Vocabulary
from workers.generation.params import Defaults, resolve
from workers.generation.prompts import Prompts
from workers.generation.rows import Row
from workers.generation.stop_strings import StopMatcher
from workers.generation.template_turns import Beginning, Fields, split_last
from workers.generation.thoughts import NO_THINKING, ThinkingTokens
from workers.generation.too_long import answer_too_long, prompt_too_long

AnyRow = TypeVar("AnyRow", bound=Row)

# Of the context, the most that is kept free for a middle of which nobody said how long it may be.
_MIDDLE_SHARE = 4


@dataclass(frozen=True, slots=True)
class RequestReader:
    """What a model takes; makes rows of requests."""

    prompts: Prompts
    vocabulary: Vocabulary
    defaults: Defaults
    vocab_size: int
    context_length: int
    grammars: Grammars
    eos_tokens: frozenset[int]
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
            prompt = self.prompts.chat(*self.told(body, terms))
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
        return terms_of(body, self.prompts, self.form, self.thinking)

    def told(self, body: ChatRequest, terms: ChatTerms) -> tuple[Sequence[ChatMessage], Fields, Beginning]:
        """What the chat template gets, and what follows behind it.

        Raises:
            RequestError: The answer cannot go on as it is to.
        """
        messages, text = split_last(body)
        return messages, terms.fields, Beginning(text, self.form.think_start, self.form.think_end)

    def make_row(
        self,
        make: Callable[..., AnyRow],
        request_id: str,
        body: Generate,
        prompt: list[int],
        now: float,
        terms: ChatTerms | None = None,
        **fields: object,
    ) -> AnyRow:
        """A row of a kind's own class for a prompt that is tokens already.

        Args:
            make: The class.
            terms: Of a chat.
            fields: Those that only the caller knows.

        Raises:
            RequestError: A parameter is wrong, or prompt and answer do not fit.
        """
        detokenizer = self.vocabulary.detokenizer()
        reader = terms.reader(request_id, prompt) if terms else None
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
            limit=terms.limit(reader) if terms and reader else None,
            stops=StopMatcher(body.stop),
            arrived=now,
            cache_salt=body.cache_salt,
            strips_space=_begins_answer(body) and self.vocabulary.leads_with_space,
            tells_prompt=tells_prompt(body),
            constraint=self.constraint(body, terms, prompt),
            told=self.tokens(request_id, prompt) if body.tell_tokens and body.count_only else None,
            fills_middle=isinstance(body, CompletionRequest) and body.suffix is not None,
            **fields,
        )

    def constraint(self, body: Generate, terms: ChatTerms | None, prompt: Sequence[int]) -> Constraint | None:
        """What keeps the answer to a grammar, which is being compiled from here on."""
        grammar = terms.grammar if terms else body.grammar
        if grammar is None:
            return None
        # A completion goes on with the prompt's text; nobody told the model to answer.
        thinking = terms.thinking if terms else NO_THINKING
        compiled = self.grammars.compile(grammar)
        return Constraint(compiled, grammar.param, thinking, prompt, self.eos_tokens)

    def completion(self, body: CompletionRequest) -> list[int]:
        """The prompt of a completion; with a suffix one that asks for the middle, cut to leave room for it.

        Raises:
            RequestError: As `Prompts.completion` and `Prompts.infill`.
        """
        if body.suffix is None:
            return self.prompts.completion(body.prompt, add_special=body.add_special)
        most = self.context_length // _MIDDLE_SHARE
        wanted = body.max_tokens or min(body.default_max_tokens or most, most)
        return self.prompts.infill(body.prompt, body.suffix, self.context_length - wanted)

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
            raise prompt_too_long(param, self.context_length, str(num_prompt))
        if wanted is None:
            return min(room, body.default_max_tokens or room)
        if wanted > room and not body.cut_to_context:
            raise answer_too_long(self.context_length, num_prompt, counted, wanted)
        if wanted < 1 and not tells_prompt(body):
            raise RequestError(f"max_tokens: expected at least 1, got {wanted}", param="max_tokens")
        return min(wanted, room)

    def tokens(self, request_id: str, prompt: list[int]) -> Tokens:
        """What a prompt is made of."""
        return Tokens.of(request_id, prompt, [*map(self.vocabulary.bytes_of, prompt)])

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


def _begins_answer(body: Generate) -> bool:
    """Whether the first token of the answer has nothing before it that it goes on with."""
    return isinstance(body, ChatRequest) and not body.continues_last
