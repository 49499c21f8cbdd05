"""A model folder to an embedding engine: vetted, loaded, made fit for the device, tried once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm.utils import load_model

from transports.errors import ModelUnavailable
from transports.messages import Progress
from transports.settings import EmbeddingSettings
from workers.embedding.encoder import Encoder, EncoderArgs, family_of, is_cross_encoder, max_positions
from workers.embedding.engine import EmbeddingEngine, LoadedEncoder
from workers.embedding.inputs import InputReader, read_tokenizer
from workers.embedding.pooling import pool
from workers.embedding.recipe import Recipe, read_recipe
from workers.engine import EngineInfo, OnProgress
from workers.generation.model_files import Config, vet
from workers.generation.weights import (
    check_settings,
    choose_device,
    device_notes,
    explained,
    materialise,
)

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any

# For a model that does not say how long a text may be.
_FALLBACK_TOKENS = 512
# What a cross-encoder of sentence-transformers does to its score.
_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "Identity": lambda score: score,
    "Sigmoid": mx.sigmoid,
}


def load(path: Path, settings: Mapping[str, object], on_progress: OnProgress) -> EmbeddingEngine:
    """Load the model in *path*. Must run in the thread that will run the engine.

    Args:
        settings: The fields of `EmbeddingSettings`.

    Raises:
        ModelUnavailable: The folder or the model in it cannot be used; the message says why.
        ConfigError: Bad settings, or a device that is not there.
    """
    checked = check_settings("embedding", settings, EmbeddingSettings)
    config = vet(path)
    family = family_of(config)
    device = choose_device("embedding", checked.device)
    # Everything is in the folder; a library that thinks otherwise must fail and not fetch.
    os.environ["HF_HUB_OFFLINE"] = "1"
    on_progress(Progress(phase="load", fraction=0.0, detail="reading"))
    recipe = read_recipe(path, config, family.pooling)
    with explained(path):
        model, _ = load_model(path, lazy=True, get_model_classes=lambda config: (Encoder, EncoderArgs))
        model = materialise(model, device, on_progress)
        compute = _scores(model, config) if is_cross_encoder(config) else partial(_vectors, model, recipe)
        token = mx.zeros((1, 1), mx.int32)
        trial = compute(token, token + 1, None)
        mx.eval(trial)
    longest = _longest(config, recipe, checked)
    tokenizer = read_tokenizer(path)
    return EmbeddingEngine(
        LoadedEncoder(
            compute=compute,
            row_size=trial.shape[1],
            reader=InputReader(tokenizer, longest, int(config["vocab_size"]), recipe.prompt),  # type: ignore[call-overload]
            info=EngineInfo(
                num_slots=checked.num_slots,
                context_length=longest,
                device=device,
                notes=(*device_notes(device), *([recipe.note] if recipe.note else [])),
            ),
            is_cross_encoder=is_cross_encoder(config),
            allows=recipe.allows,
            normalizes=recipe.normalizes,
            dimensions=_dimensions(recipe, trial.shape[1]),
        ),
        checked.step_tokens,
    )


def _vectors(model: Encoder, recipe: Recipe, tokens: Array, mask: Array, types: Array | None) -> Array:
    return pool(model(tokens, mask, types), mask, recipe)


def _scores(model: Encoder, config: Config) -> Callable[[Array, Array, Array | None], Array]:
    activation = _activation(config)
    return lambda tokens, mask, types: activation(model.score(model(tokens, mask, types)))


def _activation(config: Config) -> Callable[[Array], Array]:
    labels = config.get("id2label")
    if (num_labels := len(labels) if isinstance(labels, dict) else config.get("num_labels", 1)) != 1:
        raise ModelUnavailable(f"config.json: expected one label, got {num_labels}: no model for ranking")
    section = config.get("sentence_transformers")
    given = section.get("activation_fn") if isinstance(section, dict) else None
    given = given or config.get("sbert_ce_default_activation_function") or "Sigmoid"
    name = str(given).rpartition(".")[2]
    if name not in _ACTIVATIONS:
        raise ModelUnavailable(f"config.json: activation {name[:80]!r} is not supported")
    return _ACTIVATIONS[name]


def _longest(config: Config, recipe: Recipe, settings: EmbeddingSettings) -> int:
    limits = (max_positions(config), recipe.max_tokens, settings.max_context_tokens)
    return min((limit for limit in limits if limit), default=_FALLBACK_TOKENS)


def _dimensions(recipe: Recipe, row_size: int) -> str:
    """What may be asked for, in words."""
    if recipe.dimensions == "any":
        return f"1 to {row_size}"
    if recipe.dimensions:
        return " or ".join(str(size) for size in sorted({*recipe.dimensions, row_size}))
    return (
        f"{row_size}, as the model does not say that it was trained for smaller ones "
        "(matryoshka_dimensions in config.json)"
    )
