"""How many tokens texts have, and how many are seen without making them: a line of JSON a tokenizer."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

from workers.generation.token_borders import TokenBorders

NUM_TEXTS = 400
ALPHABETS: tuple[Sequence[str], ...] = (
    "abc XY\n\t.,",
    "0123456789 a-",
    ("<|im_end|>", " ", "\n", "\t", "a"),
    "éü安 a\u0301e.\ud7ff",
    "\n\t ",
    "".join(map(chr, range(0x20, 0x7F))),
)


class Wrapped:
    """As much of transformers' wrapper as is asked for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.get_vocab = tokenizer.get_vocab
        self.added_tokens_decoder = tokenizer.get_added_tokens_decoder()

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [str(self._tokenizer.id_to_token(token)) for token in ids]


def trained(words: str, **parts: object) -> Tokenizer:
    """Learns its tokens from *words*, with bytes for what it has not seen."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    spare = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=spare, show_progress=False)
    tokenizer.train_from_iterator(words.splitlines(keepends=True), trainer)
    return tokenizer


def kinds(words: str) -> Iterator[tuple[str, Tokenizer]]:
    """The models' own, and the ways of others."""
    for path in sys.argv[1:]:
        yield Path(path).name, Tokenizer.from_file(f"{path}/tokenizer.json")
    swallowing = Tokenizer.from_file(f"{sys.argv[1]}/tokenizer.json")
    swallowing.add_special_tokens([AddedToken("<|im_end|>", lstrip=True, rstrip=True, special=True)])
    yield "swallows spaces", swallowing
    space = normalizers.Replace(" ", "\u2581")
    yield (
        "sentencepiece",
        trained(words, normalizer=normalizers.Sequence([normalizers.Prepend("\u2581"), space])),
    )
    yield "lower case", trained(words, normalizer=normalizers.Sequence([normalizers.Lowercase(), space]))
    yield "no spaces", trained(words, pre_tokenizer=pre_tokenizers.Whitespace())


def main() -> None:
    """Each line: name, [tokens, of them at least] for each text; null for a tokenizer without borders."""
    words = Path(__file__).read_text()
    for name, tokenizer in kinds(words):
        borders = TokenBorders.of(Wrapped(tokenizer))
        rng = random.Random(1)
        texts = [words]
        for number in range(NUM_TEXTS):
            at = rng.randrange(len(words))
            noise = "".join(rng.choices(ALPHABETS[number % len(ALPHABETS)], k=rng.randint(1, 200)))
            texts.append(words[at : at + rng.randrange(300)] + noise)
        found = borders and [
            [len(tokenizer.encode(text, add_special_tokens=False).ids), borders.count(text, 10**6)[0]]
            for text in texts
        ]
        print(json.dumps([name, found]))


if __name__ == "__main__":
    main()
