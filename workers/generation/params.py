"""How one request is sampled, checked and with the defaults filled in. Knows no mlx."""

from __future__ import annotations

import json
import math
import secrets
from hashlib import blake2b
from pathlib import Path

from msgspec import Struct, ValidationError, convert

from transports.errors import RequestError
from transports.messages import Sampling

# Below this the draw is certain and the division overflows; vLLM has the same limit.
_COLDEST = 1e-5


class Defaults(Struct, frozen=True, kw_only=True):
    """What a request gets that says nothing: OpenAI's defaults, or those of the model."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


class SamplingParams(Struct, frozen=True, kw_only=True):
    """Everything decided: no field is None."""

    temperature: float
    top_p: float
    # The size of the vocabulary when off.
    top_k: int
    min_p: float
    xtc_probability: float
    xtc_threshold: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: dict[int, float]
    # A random one if the request named none: every row draws from its own numbers.
    seed: int

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature < _COLDEST

    @property
    def has_penalties(self) -> bool:
        """Whether the choice of a token depends on those before it."""
        return bool(self.repetition_penalty != 1 or self.presence_penalty or self.frequency_penalty)

    def truncates(self, vocab_size: int) -> bool:
        """Whether unlikely tokens are cut off."""
        return self.top_k < vocab_size or self.top_p < 1 or self.min_p > 0


def read_defaults(folder: Path) -> Defaults:
    """The model's generation_config.json; what it does not say or says wrongly is OpenAI's default."""
    try:
        content = json.loads((folder / "generation_config.json").read_bytes())
    except (OSError, ValueError):
        return Defaults()
    if not isinstance(content, dict):
        return Defaults()
    found = {field: content[field] for field in Defaults.__struct_fields__ if content.get(field) is not None}
    try:
        _check(convert(found, Sampling))
        return convert(found, Defaults)
    except (ValidationError, RequestError):
        return Defaults()


def resolve(sampling: Sampling, defaults: Defaults, vocab_size: int) -> SamplingParams:
    """Fill in what the request left open.

    Raises:
        RequestError: A value that is not a number in its range, or a bias for a token that is not there.
    """
    _check(sampling)
    for token in sampling.logit_bias:
        if not 0 <= token < vocab_size:
            raise RequestError(
                f"logit_bias: expected token ids in 0..{vocab_size - 1}, got {token}", param="logit_bias"
            )

    def chosen(field: str) -> float:
        value = getattr(sampling, field)
        return float(getattr(defaults, field) if value is None else value)

    top_k = int(chosen("top_k"))
    return SamplingParams(
        temperature=chosen("temperature"),
        top_p=chosen("top_p"),
        top_k=min(top_k, vocab_size) or vocab_size,
        min_p=chosen("min_p"),
        xtc_probability=sampling.xtc_probability,
        xtc_threshold=sampling.xtc_threshold,
        repetition_penalty=chosen("repetition_penalty"),
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=sampling.logit_bias,
        seed=secrets.randbits(63) if sampling.seed is None else sampling.seed,
    )


def draw(seed: int, position: int) -> tuple[int, int, float]:
    """The randomness of one token: a key of two 32-bit words, and a number in [0, 1).

    Depends on nothing else, so a seeded row draws the same alone and in any batch.
    """
    digest = blake2b(f"{seed}/{position}".encode(), digest_size=12).digest()
    words = [int.from_bytes(digest[at : at + 4], "little") for at in (0, 4, 8)]
    return words[0], words[1], words[2] / 2**32


# Field -> lowest, highest, whether the lowest itself is allowed. The same as in messages.py; an
# engine may be called by other code than the worker, and a NaN would spoil a whole batch.
_RANGES = {
    "temperature": (0, 2, True),
    "top_p": (0, 1, False),
    "top_k": (0, math.inf, True),
    "min_p": (0, 1, True),
    "xtc_probability": (0, 1, True),
    "xtc_threshold": (0, 0.5, True),
    "repetition_penalty": (0, 2, False),
    "presence_penalty": (-2, 2, True),
    "frequency_penalty": (-2, 2, True),
}


def _check(sampling: Sampling) -> None:
    for field, (low, high, includes_low) in _RANGES.items():
        value = getattr(sampling, field)
        if value is None:
            continue
        if not ((low <= value if includes_low else low < value) and value <= high):
            raise RequestError(
                f"{field}: expected a number {'in [' if includes_low else 'in ('}{low}, {high}], got {value}",
                param=field,
            )
    for token, bias in sampling.logit_bias.items():
        if not -100 <= bias <= 100:
            raise RequestError(
                f"logit_bias: expected biases from -100 to 100, got {bias} for token {token}",
                param="logit_bias",
            )
