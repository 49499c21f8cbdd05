"""Models that read a text as a whole: those of mlx-embeddings, with the head of a cross-encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import mlx.core as mx
from mlx import nn

from transports.errors import ModelUnavailable
from workers.embedding.recipe import Pooling

# Any: mlx and mlx-embeddings publish no types that mypy sees outside a worker's environment.
Array = Any
Weights = dict[str, Array]

CROSS_ENCODER = "ForSequenceClassification"


@dataclass(frozen=True, slots=True)
class Family:
    """What is particular to a model_type of config.json."""

    # Of mlx_embeddings.models.
    module: str
    # What a checkpoint with a head puts in front of the names of the trunk's weights.
    prefix: str
    # Of a model without modules.json.
    pooling: Pooling = "mean"
    # Positions are counted from here on (fairseq's offset, behind the padding token).
    has_offset: bool = False
    has_token_types: bool = True


# Each was compared with transformers; tests/models/test_embedding_families.py does it again.
FAMILIES: Mapping[str, Family] = {
    "bert": Family("bert", "bert."),
    "roberta": Family("xlm_roberta", "roberta.", has_offset=True, has_token_types=False),
    "xlm-roberta": Family("xlm_roberta", "roberta.", has_offset=True, has_token_types=False),
    "qwen3": Family("qwen3", "model.", pooling="lasttoken", has_token_types=False),
}
# What mlx-embeddings computes whatever config.json says.
_FIXED = {"hidden_act": ("gelu", "silu"), "position_embedding_type": ("absolute",)}


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a model.

    Raises:
        ModelUnavailable: It is none of those that are known, or differs from them.
    """
    model_type = config.get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None:
        raise ModelUnavailable(
            f"config.json: model_type: expected one of {', '.join(FAMILIES)}, got {str(model_type)[:80]!r}"
        )
    for key, allowed in _FIXED.items():
        if (value := config.get(key, allowed[0])) not in allowed:
            raise ModelUnavailable(f"config.json: {key}: {str(value)[:80]!r} is not supported")
    return family


def max_positions(config: Mapping[str, Any]) -> int:
    """The longest sequence that the positions of a model reach to; 0 where config.json does not say it."""
    value = config.get("max_position_embeddings")
    if not isinstance(value, int):
        return 0
    return value - int(config.get("pad_token_id") or 0) - 1 if family_of(config).has_offset else value


def is_cross_encoder(config: Mapping[str, Any]) -> bool:
    """Whether it gives a score for a pair of texts."""
    architectures = config.get("architectures")
    return (
        isinstance(architectures, list)
        and bool(architectures)
        and str(architectures[0]).endswith(CROSS_ENCODER)
    )


class EncoderArgs:
    """What mlx-lm's `load_model` makes of config.json."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.family = family_of(config)
        self.has_head = is_cross_encoder(config)
        self.hidden_size = int(config["hidden_size"])
        self.module: Any = import_module(f"mlx_embeddings.models.{self.family.module}")
        self.trunk = self.module.ModelArgs.from_dict(dict(config))

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> EncoderArgs:
        """As mlx-lm calls it."""
        return cls(config)


class Encoder(nn.Module):  # type: ignore[misc]  # mlx has no types here.
    """A trunk of mlx-embeddings; for a cross-encoder with its head."""

    # Of the transformers library, by the family's module: what is under `classifier` and `bert.pooler`.
    _HEADS: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "bert": {"bert.pooler.dense.": "head.dense.", "classifier.": "head.out."},
        "xlm_roberta": {"classifier.dense.": "head.dense.", "classifier.out_proj.": "head.out."},
    }

    def __init__(self, args: EncoderArgs) -> None:
        super().__init__()
        self._family = args.family
        self._trunk_sanitize = args.module.Model.sanitize
        self.trunk = args.module.Model(args.trunk)
        # Pooling is ours, and checkpoints often lack the weights of this one.
        if "pooler" in self.trunk:
            self.trunk.pooler = nn.Identity()
        if args.has_head:
            if args.family.module not in self._HEADS:
                raise ModelUnavailable(f"cross-encoders of type {args.family.module} are not supported")
            self.head = Head(args.hidden_size)

    def __call__(self, tokens: Array, mask: Array, types: Array | None) -> Array:
        """The hidden states of the last layer, shape (num_rows, num_tokens, hidden_size)."""
        fields = {} if types is None or not self._family.has_token_types else {"token_type_ids": types}
        return self.trunk(tokens, attention_mask=mask, **fields).last_hidden_state

    def score(self, hidden: Array) -> Array:
        """The score of each pair before any activation, shape (num_rows, 1)."""
        return self.head(hidden[:, 0]).astype(mx.float32)

    def sanitize(self, weights: Weights) -> Weights:
        """Names as they are here; those of parts that are not computed are dropped."""
        heads = self._HEADS.get(self._family.module, {})
        found: Weights = {}
        trunk: Weights = {}
        for name, weight in weights.items():
            start = next((start for start in heads if name.startswith(start)), None)
            if start is not None and "head" in self:
                found[heads[start] + name.removeprefix(start)] = weight
            elif not name.startswith(("classifier.", "lm_head.", "cls.")) and "pooler." not in name:
                trunk[name.removeprefix(self._family.prefix)] = weight
        sanitized = self._trunk_sanitize(self.trunk, trunk)
        return found | {f"trunk.{name}": weight for name, weight in sanitized.items()}


class Head(nn.Module):  # type: ignore[misc]  # mlx has no types here.
    """One score from the first token: dense, tanh, out; BERT's pooler and RoBERTa's head alike."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, 1)

    def __call__(self, first: Array) -> Array:
        return self.out(mx.tanh(self.dense(first)))
