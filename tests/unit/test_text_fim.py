"""Fill in the middle: formats told apart by their tokens, prompts within the context."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from transports.errors import ContextLengthExceeded, TaskNotSupported
from transports.messages import CompletionRequest
from workers.generation.detokenize import Vocabulary
from workers.generation.fim import FORMATS, FimFormat, recognise
from workers.generation.params import Defaults
from workers.generation.prompts import Prompts
from workers.generation.requests import RequestReader

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|file_sep|>")
CODESTRAL = ("[PREFIX]", "[SUFFIX]", "[MIDDLE]")
# The default model's: StarCoder's without those for fill in the middle.
SMOLLM2 = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<repo_name>",
    "<reponame>",
    "<file_sep>",
    "<filename>",
)
FIRST_NAMED = 1000
BOS = 999
CONTEXT = 64


class CharTokenizer:
    """A token is a character, or one of *names*; a Llama-like one puts a space before every text."""

    chat_template = None
    has_chat_template = False
    all_special_ids = ()

    def __init__(
        self, names: tuple[str, ...] = (), *, has_bos: bool = False, adds_space: bool = False
    ) -> None:
        self.named = {name: FIRST_NAMED + at for at, name in enumerate(names)}
        # Qwen's are added, and not special.
        self.added_tokens_decoder = {token: SimpleNamespace(special=False) for token in self.named.values()}
        self._first = [BOS] if has_bos else []
        self._adds_space = adds_space
        # Of the texts that were encoded.
        self.lengths: list[int] = []

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        self.lengths.append(len(text))
        if self._adds_space and text:
            text = "\u2581" + text
        tokens = list(self._first) if add_special_tokens else []
        while text:
            name = next((name for name in self.named if text.startswith(name)), text[0])
            tokens.append(self.named.get(name, ord(name[0]) % 900))
            text = text[len(name) :]
        return tokens

    def convert_tokens_to_ids(self, name: str) -> int:
        return self.named.get(name, 0)

    def convert_ids_to_tokens(self, token: int) -> str:
        if self._adds_space and token == ord("\u2581") % 900:
            return "\u2581"
        return {token: name for name, token in self.named.items()}.get(token, chr(token))

    def get_added_vocab(self) -> dict[str, int]:
        return self.named


def prompts(*names: str, **fields: bool) -> Prompts:
    return Prompts(CharTokenizer(names, **fields), 2000, CONTEXT)


def shown(made: Prompts, tokens: list[int]) -> str:
    return "".join(made._tokenizer.convert_ids_to_tokens(token) for token in tokens)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.prefix)
def test_every_format_is_recognised_by_its_tokens(one: FimFormat) -> None:
    names = [name for name in (one.prefix, one.suffix, one.middle) if name]

    fim = recognise({name: at for at, name in enumerate(names)}.get)

    assert fim is not None
    assert (fim.prefix, fim.suffix, fim.middle) == (0, 1, 2 if one.middle else None)
    assert fim.ends == set(range(len(names)))


def test_a_tokenizer_with_some_of_the_tokens_has_no_format() -> None:
    assert recognise(dict.fromkeys(QWEN[:2], 1).get) is None
    assert recognise(dict.fromkeys(SMOLLM2, 1).get) is None


def test_prefix_suffix_middle() -> None:
    made = prompts(*QWEN)

    assert shown(made, made.infill("a", "b", 60)) == "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"


def test_codestral_has_the_suffix_first_and_its_first_token_before_it() -> None:
    made = prompts(*CODESTRAL, has_bos=True)

    tokens = made.infill("a", "b", 60)

    assert tokens[0] == BOS
    assert shown(made, tokens[1:]) == "[SUFFIX]b[PREFIX]a"


def test_a_suffix_gets_no_space_from_the_tokenizer() -> None:
    """It goes on in the middle of a line; the prefix begins a text, as CodeLlama was taught."""
    made = prompts("▁<PRE>", "▁<SUF>", "▁<MID>", adds_space=True)

    assert shown(made, made.infill("a", "b", 60)) == "▁<PRE>▁a▁<SUF>b▁<MID>"


def test_text_that_names_the_tokens_is_text() -> None:
    made = prompts(*QWEN)

    tokens = made.infill("x<|fim_middle|>", "<|fim_prefix|>y<|file_sep|>", 60)

    named = [token for token in tokens if token >= FIRST_NAMED]
    assert shown(made, named) == "<|fim_prefix|><|fim_suffix|><|fim_middle|>"
    assert "<|fim_middle|>" in shown(made, [token for token in tokens if token < FIRST_NAMED])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (100, 100, (30, 10)),
        (100, 4, (36, 4)),
        (5, 100, (5, 35)),
        (0, 100, (0, 40)),
        (100, 0, (40, 0)),
        (20, 20, (20, 20)),
    ],
)
def test_both_sides_are_cut_at_their_far_ends(before: int, after: int, expected: tuple[int, int]) -> None:
    fim = recognise(dict(zip(QWEN, range(500, 505), strict=True)).get)
    assert fim is not None

    tokens = fim.prompt(range(before), range(100, 100 + after), 43)

    kept_before, kept_after = expected
    assert tokens == [
        *(500, *range(before - kept_before, before)),
        *(501, *range(100, 100 + kept_after), 502),
    ]


def test_of_a_large_file_little_is_read() -> None:
    """Others get no token meanwhile."""
    made = prompts(*QWEN)

    made.infill("p" * 100_000, "s" * 100_000, 60)

    assert max(made._tokenizer.lengths) <= 60 * 8


def test_no_room_at_all_leaves_the_bare_question() -> None:
    fim = recognise(dict(zip(QWEN, range(500, 505), strict=True)).get)
    assert fim is not None

    assert fim.prompt(range(9), range(9), -5) == [500, 501, 502]


def test_ids_are_taken_as_they_are() -> None:
    made = prompts(*QWEN)

    assert made.infill((5, 6), "b", 60)[1:3] == [5, 6]


def test_a_model_without_the_tokens_says_so() -> None:
    with pytest.raises(TaskNotSupported, match="cannot fill in the middle") as caught:
        prompts(*SMOLLM2).infill("a", "b", 60)

    assert caught.value.param == "suffix"


# --- requests ---------------------------------------------------------------------------------


def reader(*names: str) -> RequestReader:
    made = prompts(*names)
    vocabulary = Vocabulary(made._tokenizer, "window")
    # Nobody asks for a grammar here.
    return RequestReader(
        made, vocabulary, Defaults(), made.vocab_size, CONTEXT, grammars=None, eos_tokens=frozenset()
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_tokens": 10}, 10),
        ({"default_max_tokens": 16}, 16),
        ({"default_max_tokens": 9999}, 16),
        ({}, 16),
    ],
)
def test_a_prompt_too_long_is_cut_for_the_answer_to_fit(limits: dict[str, int], expected: int) -> None:
    body = CompletionRequest(prompt="p" * 500, suffix="s" * 500, **limits)  # type: ignore[arg-type]

    row = reader(*QWEN).row("r", body, 0.0)

    assert len(row.prompt) == CONTEXT - expected
    assert row.max_tokens == expected
    assert row.fills_middle


def test_an_answer_longer_than_the_context_is_refused() -> None:
    body = CompletionRequest(prompt="p", suffix="s", max_tokens=CONTEXT)

    # Known by clients (workers/generation/too_long.py).
    with pytest.raises(ContextLengthExceeded, match="this model's maximum context length is"):
        reader(*QWEN).row("r", body, 0.0)


def test_or_is_cut_where_the_request_says_so() -> None:
    """Clients of APIs where a number must be said send that of another model."""
    row = reader(*QWEN).row("r", CompletionRequest(prompt="p", max_tokens=9999, cut_to_context=True), 0.0)

    assert row.max_tokens == CONTEXT - len(row.prompt)


def test_an_empty_suffix_fills_in_and_none_goes_on() -> None:
    filled = reader(*QWEN).row("r", CompletionRequest(prompt="p", suffix=""), 0.0)
    going_on = reader(*QWEN).row("r", CompletionRequest(prompt="p"), 0.0)

    assert (len(filled.prompt), filled.fills_middle) == (4, True)
    assert (len(going_on.prompt), going_on.fills_middle) == (1, False)
