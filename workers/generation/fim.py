"""Fill in the middle: the format that a tokenizer was made for, and prompts in it. Knows no library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Of the room for a prompt, what the text after the cursor may take when both sides are too long: what comes
# before says more about what comes next (llama.cpp's infill has the same quarter).
_SUFFIX_SHARE = 4

# The id of a token by its name; None if there is none of that name.
Find = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class FimFormat:
    """What a family of models was taught, by the names of its tokens."""

    prefix: str
    suffix: str
    # "" where the answer follows the prefix at once.
    middle: str
    is_suffix_first: bool = False


FORMATS = (
    # Qwen2.5-Coder and later, CodeGemma, Granite 4.
    FimFormat("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    # StarCoder, StarCoder2, Granite Code, StableCode, Yi-Coder.
    FimFormat("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    # SantaCoder.
    FimFormat("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    # DeepSeek-Coder and later: "hole" is where the middle goes, "end" is where it is asked for.
    FimFormat("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # noqa: RUF001  # So they are called.
    # CodeLlama, as transformers and as its authors call them.
    FimFormat("▁<PRE>", "▁<SUF>", "▁<MID>"),
    FimFormat("<PRE>", "<SUF>", "<MID>"),
    # GLM-4.5.
    FimFormat("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    # Seed-Coder.
    FimFormat("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", is_suffix_first=True),
    # Codestral, as mistral-common's encode_fim has it.
    FimFormat("[PREFIX]", "[SUFFIX]", "", is_suffix_first=True),
)

# What ends a middle, besides a format's own tokens: another file, another turn, padding. A model that was not
# told to stop goes on with the next file of its training.
_ENDS = (
    "<|fim_pad|>",
    "<fim_pad>",
    "<fim-pad>",
    "<PAD>",
    "[MIDDLE]",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|file_separator|>",
    "<repo_name>",
    "<reponame>",
    "<file_sep>",
    "<filename>",
    "▁<EOT>",
    "<EOT>",
    "<|EOT|>",
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
)


@dataclass(frozen=True, slots=True)
class Fim:
    """The format of one tokenizer, by the ids of its tokens."""

    prefix: int
    suffix: int
    middle: int | None
    is_suffix_first: bool
    # Tokens that end an answer as the end-of-text token does.
    ends: frozenset[int]
    # What these are called: in a prompt's text they are no tokens.
    names: tuple[str, ...]

    def prompt(self, before: Sequence[int], after: Sequence[int], room: int) -> list[int]:
        """The tokens that ask for what belongs between *before* and *after*.

        Args:
            before: Tokens of the text before the cursor; the first are left out if there is no room.
            after: Tokens of the text after it; the last are left out if there is no room.
            room: For the whole prompt, tokens.
        """
        middle = [] if self.middle is None else [self.middle]
        room = max(0, room - 2 - len(middle))
        kept_after = min(len(after), max(room // _SUFFIX_SHARE, room - len(before)))
        kept_before = min(len(before), room - kept_after)
        first = [self.prefix, *before[len(before) - kept_before :]]
        last = [self.suffix, *after[:kept_after]]
        return [*last, *first, *middle] if self.is_suffix_first else [*first, *last, *middle]


def recognise(find: Find) -> Fim | None:
    """The format that a tokenizer has all tokens of; None if there is none."""
    for one in FORMATS:
        prefix, suffix = find(one.prefix), find(one.suffix)
        middle = find(one.middle) if one.middle else None
        if prefix is None or suffix is None or (one.middle and middle is None):
            continue
        named = {name: find(name) for name in (one.prefix, one.suffix, one.middle, *_ENDS) if name}
        ends = {name: token for name, token in named.items() if token is not None}
        return Fim(prefix, suffix, middle, one.is_suffix_first, frozenset(ends.values()), tuple(ends))
    return None
