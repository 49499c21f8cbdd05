"""Texts, token ids and pairs of texts to rows of tokens, within what the model can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from transports.errors import ContextLengthExceeded, ModelUnavailable, RequestError
from workers.panics import tokenizing

# Of a text, for each token that the model reads: a longer one is too long whatever its tokens are, and is not
# read at all, as that takes a second for each megabyte.
MAX_CHARS_PER_TOKEN = 100


@dataclass(frozen=True, slots=True)
class Row:
    """What the model reads at once."""

    tokens: list[int]
    # 0 for the first text and 1 for the second; None where there is one alone.
    types: list[int] | None = None


class InputReader:
    """Makes rows; of a text that is too long an error that says so, or as much as the model can read."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, vocab_size: int, prompt: str = "") -> None:
        """Takes the tokenizer over.

        Args:
            tokenizer: As tokenizer.json has it.
            max_tokens: The longest row, special tokens included.
            vocab_size: Token ids are below it.
            prompt: In front of every text of an embedding.
        """
        # A model's file may have both switched on, for the convenience of another program.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._max_chars = max_tokens * MAX_CHARS_PER_TOKEN
        self._vocab_size = vocab_size
        self._prompt = prompt

    @tokenizing()
    def one(self, item: str | tuple[int, ...], place: str, *, truncate: bool) -> Row:
        """The row of an input of an embedding.

        Raises:
            ContextLengthExceeded: It is too long.
            RequestError: A token id that the model does not have.
        """
        if not isinstance(item, str):
            return Row(self._checked(item, place, truncate=truncate))
        text = self._prompt + self._cut(item, place, truncate=truncate)
        encoding = self._tokenizer.encode(text)
        if len(encoding.ids) > self._max_tokens:
            self._refuse(len(encoding.ids), place, truncate=truncate)
            encoding = self._encode_cut(text)
        return Row(encoding.ids)

    @tokenizing()
    def pair(self, query: str, document: str, place: str, *, truncate: bool) -> Row:
        """The row of a query with a document; only the document is ever cut.

        Raises:
            ContextLengthExceeded: They are too long together, or the query alone is.
        """
        if len(query) > self._max_chars:
            self._refuse_query()
        text = self._cut(document, place, truncate=truncate)
        encoding = self._tokenizer.encode(query, text)
        if len(encoding.ids) > self._max_tokens:
            if len(self._tokenizer.encode(query, "").ids) >= self._max_tokens:
                self._refuse_query()
            self._refuse(len(encoding.ids), place, truncate=truncate)
            encoding = self._encode_cut(query, text)
        return Row(encoding.ids, encoding.type_ids)

    def _encode_cut(self, *texts: str):  # type: ignore[no-untyped-def]  # tokenizers has no types here.
        strategy = "longest_first" if len(texts) == 1 else "only_second"
        self._tokenizer.enable_truncation(self._max_tokens, strategy=strategy)
        try:
            return self._tokenizer.encode(*texts)
        finally:
            self._tokenizer.no_truncation()

    def _checked(self, tokens: tuple[int, ...], place: str, *, truncate: bool) -> list[int]:
        if not tokens:
            raise RequestError(f"{place}: expected at least one token, got none", param=place)
        for token in tokens:
            if not 0 <= token < self._vocab_size:
                raise RequestError(
                    f"{place}: expected token ids in [0, {self._vocab_size}), got {token}", param=place
                )
        if len(tokens) > self._max_tokens:
            self._refuse(len(tokens), place, truncate=truncate)
        return list(tokens[: self._max_tokens])

    def _cut(self, text: str, place: str, *, truncate: bool) -> str:
        if len(text) > self._max_chars and not truncate:
            raise ContextLengthExceeded(
                f"{place}: expected at most {self._max_tokens} tokens, got {len(text)} characters; "
                "send less, or ask for truncate",
                param=place,
            )
        return text[: self._max_chars]

    def _refuse(self, num_tokens: int, place: str, *, truncate: bool) -> None:
        if not truncate:
            raise ContextLengthExceeded(
                f"{place}: expected at most {self._max_tokens} tokens, got {num_tokens}; "
                "send less, or ask for truncate",
                param=place,
            )

    def _refuse_query(self) -> None:
        raise ContextLengthExceeded(
            f"query: expected fewer than {self._max_tokens} tokens, so that a document has room beside it",
            param="query",
        )


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of the model in *folder*.

    Raises:
        ModelUnavailable: There is no tokenizer.json, or it cannot be used.
    """
    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as e:  # noqa: BLE001  # tokenizers raises nothing more exact.
        raise ModelUnavailable(f"{path}: cannot be used: {str(e)[:200]}") from None
