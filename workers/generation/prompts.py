"""Chat messages or text to prompt tokens."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from transports.errors import RequestError, TaskNotSupported
from transports.messages import ChatMessage, Reasoning
from transports.tools import ToolCall
from workers.generation.fim import recognise
from workers.generation.rendering import TemplateLimit, check_size, limited, num_chars
from workers.generation.template_turns import (
    NO_BEGINNING,
    NO_FIELDS,
    Beginning,
    Fields,
    called_names,
    fields_of,
    turn_of,
    with_calls_as_words,
)
from workers.generation.too_long import prompt_too_long
from workers.generation.tool_calls import Tools
from workers.panics import tokenizing

# Any: a tokenizer of transformers behind mlx-lm's wrapper; neither has types.
Tokenizer = Any

# Put into the name of a special token, it makes plain text of it. A noncharacter: no text has it.
_BREAK = "\ufdd0"
_MAX_REASON = 200
# A prompt is counted in pieces first: of one far too long most is never read. A piece takes a ms or two, in
# which nobody else gets a token.
_PIECE_CHARS = 4096
# At most so many side by side, as far as there are processors.
_NUM_PIECES = 4
# A cut inside a word may make tokens that the whole text has not; seen were at most three.
_TOKENS_PER_CUT = 8
# `_BREAK` itself, counted with its piece, in a tokenizer that knows no such character.
_TOKENS_PER_BREAK = 4
# No tokenizer makes more tokens than bytes, and UTF-8 has at most four for a character.
_MAX_TOKENS_PER_CHAR = 4
# Of the text around a cursor so much is read for a token of room: of code a token has three or four.
_MAX_CHARS_PER_TOKEN = 8
# A character before a text keeps a tokenizer from putting its own space there (CodeLlama's and
# mistral-common's encode_infilling use the same).
_GUARD = "\u263a"
_FIELDS = frozenset({"tools", "enable_thinking"})
# Shown to a template once, to see if it shows calls. Mistral's want an id of nine letters, and a result.
_CALL = ToolCall(id="mlxdProbe", name="mentions_mlxd", arguments="{}")
_CALLED = (
    ChatMessage(role="user", content="Hello"),
    ChatMessage(role="assistant", content="", tool_calls=(_CALL,)),
    ChatMessage(role="tool", content="Hello", tool_call_id=_CALL.id),
)
# The same for tools.
_PROBE = Tools(
    definitions=[
        {
            "type": "function",
            "function": {
                "name": "probe",
                "description": "Mentions_mlxd",
                "parameters": {"type": "object", "properties": {}},
            },
        }
    ],
    names=frozenset({"probe"}),
)


class Borders(Protocol):
    """Knows how many tokens a text has at least."""

    def count(self, text: str, enough: int) -> tuple[int, int]:
        """See `TokenBorders.count`."""
        ...


class Prompts:
    """Uses the chat template and tokenizer of one model."""

    def __init__(
        self, tokenizer: Tokenizer, vocab_size: int, context_length: int, borders: Borders | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._borders = borders
        self.vocab_size = vocab_size
        self.context_length = context_length
        self.fim = recognise(self.find)
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        # Qwen's are not called special; in a file that speaks of them they are words all the same.
        special.update(self.fim.names if self.fim else ())
        # Longest first: one may be part of another.
        self._special = sorted(special, key=len, reverse=True)
        self._knows_developer = "developer" in str(tokenizer.chat_template)

    def chat(
        self,
        messages: Sequence[ChatMessage],
        fields: Fields = NO_FIELDS,
        beginning: Beginning = NO_BEGINNING,
    ) -> list[int]:
        """The conversation as the model was taught it, ending where its answer begins.

        The names of special tokens in the messages are plain text to the model.

        Args:
            fields: What `told` made of the request.
            beginning: Of the answer.

        Raises:
            TaskNotSupported: The model has no chat template.
            RequestError: The template refuses the conversation, or the tokenizer panics over it.
            ContextLengthExceeded: It is too long; the last few tokens are the caller's to check.
        """
        text = beginning.after(self._render(self._turns(messages), fields), self._plain)
        self._refuse_too_long(text, "messages")
        tokens = self._tokens(text)
        if not tokens:
            raise RequestError("messages: the model's chat template makes an empty prompt", param="messages")
        return tokens

    def told(self, tools: Tools | None, reasoning: Reasoning) -> Fields:
        """What the template is told besides the conversation."""
        fields = fields_of(tools, reasoning, self._plain)
        # Some models come with a program of mlx-lm's instead of a template, which takes no others.
        known = _FIELDS.union(re.findall(r"\w+", str(self._tokenizer.chat_template)))
        return {name: value for name, value in fields.items() if name in known}

    @cached_property
    def shows_tools(self) -> bool:
        """Whether the chat template shows the model its tools."""
        try:
            text = self._render(
                self._turns([ChatMessage(role="user", content="Hello")]), self.told(_PROBE, Reasoning())
            )
        except RequestError:
            return False
        return "Mentions_mlxd" in text

    @cached_property
    def _shows_calls(self) -> bool:
        """Whether the chat template shows the model what it called; one that refuses the question may."""
        try:
            return _CALL.name in self._render([self._turn(one, None) for one in _CALLED])
        except RequestError:
            return True

    def completion(self, prompt: str | Sequence[int], *, add_special: bool = True) -> list[int]:
        """Text as the tokenizer has it (special tokens count), or ids as they are.

        Args:
            add_special: With the tokens that the tokenizer puts before every text.

        Raises:
            RequestError: Nothing to go on from, or an id that is no token.
            ContextLengthExceeded: As for `chat`.
        """
        if isinstance(prompt, str):
            self._refuse_too_long(prompt, "prompt")
            # Of an empty text only the tokens remain that a tokenizer puts before every text.
            tokens = self._encode(prompt, add_special=add_special)
        elif len(prompt) > self.context_length:
            raise prompt_too_long("prompt", self.context_length, str(len(prompt)))
        else:
            tokens = self._checked(prompt)
        if not prompt or not tokens:
            raise RequestError("prompt: expected text or token ids, got none", param="prompt")
        return tokens

    def infill(self, prompt: str | Sequence[int], suffix: str, room: int) -> list[int]:
        """What asks for the text between *prompt* and *suffix*, cut at their far ends to fit.

        The names of special tokens in both are plain text to the model.

        Args:
            room: For all of it, tokens.

        Raises:
            TaskNotSupported: The tokenizer has no tokens for that.
            RequestError: An id that is no token.
        """
        if self.fim is None:
            raise TaskNotSupported(
                "suffix: this model cannot fill in the middle: its tokenizer has no tokens for it; leave it "
                "out or take a code model",
                param="suffix",
            )
        max_chars = max(1, room) * _MAX_CHARS_PER_TOKEN
        if isinstance(prompt, str):
            before = self._tokens(self._plain(prompt[-max_chars:]))
        else:
            before = self._checked(prompt[-self.context_length :])
        after = self._continued(self._plain(suffix[:max_chars]))
        first = self._encode("", add_special=True)
        return first + self.fim.prompt(before, after, room - len(first))

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        for token in (min(tokens, default=0), max(tokens, default=0)):
            if not 0 <= token < self.vocab_size:
                raise RequestError(
                    f"prompt: expected token ids in 0..{self.vocab_size - 1}, got {token}", param="prompt"
                )
        return list(tokens)

    def _continued(self, text: str) -> list[int]:
        """Tokens of a text that begins in the middle of a line, as far as the tokenizer knows."""
        guard = self._encode(_GUARD)
        if not str(self._tokenizer.convert_ids_to_tokens(guard[0])).startswith("\u2581"):
            return self._tokens(text)
        return self._tokens(_GUARD + text)[len(guard) :]

    def find(self, name: str) -> int | None:
        """The id of a token, by its name."""
        token: int | None = self._tokenizer.convert_tokens_to_ids(name)
        if token is None or self._tokenizer.convert_ids_to_tokens(token) != name:
            return None
        return token

    def _refuse_too_long(self, text: str, param: str) -> None:
        if len(text) * _MAX_TOKENS_PER_CHAR < self.context_length:
            return
        at_least, end = self._at_least(text)
        start, num_pieces = 0, 1
        while start < len(text) and at_least <= self.context_length:
            begins = range(start, start + num_pieces * _PIECE_CHARS, _PIECE_CHARS)
            gained = self._unseen([text[begin : begin + _PIECE_CHARS] for begin in begins])
            at_least, start = at_least + gained, begins.stop
            # As many as will do, if they are like these.
            missing = self.context_length - at_least
            num_pieces = min(_NUM_PIECES, 1 + missing * num_pieces // max(1, gained))
        end = max(end, min(start, len(text)))
        if at_least > self.context_length:
            seen = f"{at_least} or more in the first {end} of {len(text)} characters"
            raise prompt_too_long(param, self.context_length, seen)

    def _unseen(self, pieces: Sequence[str]) -> int:
        """How many tokens *pieces* of a text have at least besides those that `_at_least` sees."""
        found = 0
        for piece, counted in zip(pieces, self._count(pieces), strict=True):
            num_of_cuts = _TOKENS_PER_CUT + _TOKENS_PER_BREAK * piece.count(_BREAK)
            found += max(0, counted - num_of_cuts - self._at_least(piece)[0])
        return found

    def _at_least(self, text: str) -> tuple[int, int]:
        """How many tokens a text is seen to have without making them, and in how many of its characters."""
        return self._borders.count(text, self.context_length + 1) if self._borders else (0, 0)

    def _turns(self, messages: Sequence[ChatMessage]) -> list[dict[str, object]]:
        """Messages as templates know them."""
        names = called_names(messages)
        if names and not self._shows_calls:
            messages = [with_calls_as_words(message) for message in messages]
        return [self._turn(one, one.name or names.get(one.tool_call_id or "")) for one in messages]

    def _turn(self, message: ChatMessage, name: str | None) -> dict[str, object]:
        is_system = message.role == "developer" and not self._knows_developer
        return turn_of(
            message,
            self._content(message),
            self._plain,
            role="system" if is_system else message.role,
            name=name,
        )

    def _content(self, message: ChatMessage) -> object:
        """What a message says, as the template takes it."""
        return self._plain(message.text)

    def _plain(self, text: str) -> str:
        """Text in which the name of a special token is no token."""
        text = text.replace(_BREAK, "\ufffd")
        # To look for each of them in megabytes would take tens of ms.
        if any(first in text and names.search(text) for first, names in self._special_by_first.items()):
            for name in self._special:
                if name in text:
                    text = text.replace(name, name[:1] + _BREAK + name[1:])
        return text

    @cached_property
    def _special_by_first(self) -> dict[str, re.Pattern[str]]:
        """The names of special tokens by their first character."""
        by_first: dict[str, list[str]] = defaultdict(list)
        for name in self._special:
            by_first[name[:1]].append(re.escape(name))
        return {first: re.compile("|".join(names)) for first, names in by_first.items()}

    def _render(self, turns: Sequence[dict[str, object]], fields: Fields = NO_FIELDS) -> str:
        if not self._tokenizer.has_chat_template:
            raise TaskNotSupported("this model has no chat template: use /v1/completions", param="messages")
        try:
            text: str = limited(
                num_chars([*turns, fields]),
                lambda: self._tokenizer.apply_chat_template(
                    turns, add_generation_prompt=True, tokenize=False, **fields
                ),
            )
            check_size(len(text))
        except TemplateLimit as e:
            raise RequestError(
                f"messages: the model's chat template was stopped: {e}", param="messages"
            ) from None
        except Exception as e:  # noqa: BLE001 - a template is foreign code and may raise anything
            # jinja2's errors hold the template's words ("roles must alternate"); others may hold the prompt.
            is_template_error = type(e).__module__.startswith("jinja2")
            reason = str(e)[:_MAX_REASON] if is_template_error else type(e).__name__
            raise RequestError(
                f"messages: the model's chat template refused them: {reason}", param="messages"
            ) from None
        return text

    def _tokens(self, text: str) -> list[int]:
        """Of a rendered text: its special tokens count, but those that `_plain` has broken."""
        tokens: list[int] = []
        for part in text.split(_BREAK):
            tokens += self._encode(part)
        return tokens

    def _count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each of them has."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        # What a processor has set stays: each text would be as long as the longest one.
        if backend is None or backend.padding or backend.truncation:
            return [len(self._encode(text)) for text in texts]
        with tokenizing():
            # Side by side, and without their places in the text: a quarter of the time.
            return [len(one) for one in backend.encode_batch_fast(texts, add_special_tokens=False)]

    def _encode(self, text: str, *, add_special: bool = False) -> list[int]:
        with tokenizing():
            tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special)
        return tokens
