"""What loading a model has in common whatever it does: settings, device, weights."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import mlx.core as mx
import msgspec
from mlx.utils import tree_flatten
from mlx_lm.utils import dequantize_model

from transports.errors import ConfigError, MlxdError, ModelUnavailable
from transports.messages import Progress
from workers.blas import openblas_is_loaded
from workers.engine import OnProgress
from workers.generation import cpu_activations, cpu_attention, empty_attention

# Any: mlx and mlx-lm publish no types that mypy sees outside a worker's environment.
Array = Any
Model = Any

SLOW_BLAS_NOTE = "reference BLAS: prompts are read 10 times slower; install libopenblas (libopenblas0)"
# Of buffers that mlx has freed and keeps for the next step, which a GPU's memory counts as ours. By itself
# mlx keeps more than a Mac's GPU may have in all, and steps of ever other lengths fill that: a worker would
# take the memory of all others. For 2048 tokens a layer of 8 billion parameters' model frees about half.
FREED_BYTES = 512 * 1024 * 1024
# Weights are brought into memory in at most so many portions, each a step of the progress bar.
_NUM_PORTIONS = 32
# None but the last is smaller: the tables for grammars are made meanwhile, and who makes them holds
# Python's lock, without which the next portion cannot begin.
_MIN_PORTION_BYTES = 256 * 1024 * 1024
_MAX_REASON = 300

T = TypeVar("T", bound=msgspec.Struct)


def check_settings(section: str, fields: Mapping[str, object], into: type[T]) -> T:
    """The settings of a kind.

    Raises:
        ConfigError: One is wrong.
    """
    try:
        return msgspec.convert(dict(fields), into)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{section}: {e}") from None


def choose_device(section: str, wanted: str) -> str:
    """Make the wanted device mlx's default, and have models compute as suits it; its name.

    Args:
        section: Of the settings, for the error.

    Raises:
        ConfigError: A GPU is wanted and there is none.
    """
    has_gpu = mx.default_device() == mx.Device(mx.gpu)
    if wanted == "gpu" and not has_gpu:
        raise ConfigError(f"{section}.device: expected cpu or auto, got gpu: mlx has no GPU here")
    if wanted == "cpu" or not has_gpu:
        mx.set_default_device(mx.Device(mx.cpu))
        cpu_attention.install("cpu")
        cpu_activations.install("cpu")
        return "cpu"
    mx.set_cache_limit(FREED_BYTES)
    device = "metal" if mx.metal.is_available() else "cuda"
    empty_attention.install(device)
    return device


def materialise(model: Model, device: str, on_progress: OnProgress) -> Model:
    """Read the weights, a portion at a time, and convert them to what *device* computes with."""
    if device == "cpu":
        model = _densify(model)
    weights = [weight for _, weight in tree_flatten(model.parameters())]
    done = 0
    for portion in _portions(weights):
        mx.eval(portion)
        done += len(portion)
        on_progress(
            Progress(phase="load", fraction=done / len(weights), detail=f"weights {done}/{len(weights)}")
        )
    mx.clear_cache()
    return model


def _portions(weights: Sequence[Array]) -> Iterator[list[Array]]:
    size_bytes = max(_MIN_PORTION_BYTES, sum(weight.nbytes for weight in weights) // _NUM_PORTIONS)
    portion: list[Array] = []
    portion_bytes = 0
    for weight in weights:
        portion.append(weight)
        portion_bytes += weight.nbytes
        if portion_bytes >= size_bytes:
            yield portion
            portion, portion_bytes = [], 0
    if portion:
        yield portion


def _densify(model: Model) -> Model:
    """Dense float32 weights: quantised and half-precision ones are far slower on a CPU.

    Scales become float32 first, so that the product of scale and integer is not rounded to half.
    """
    model.set_dtype(mx.float32)
    return dequantize_model(model)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """For loading the model in *path*: libraries raise whatever they like for one that they cannot read.

    Raises:
        ModelUnavailable: In place of that.
    """
    try:
        yield
    except MlxdError:
        raise
    except Exception as e:
        raise ModelUnavailable(f"{path}: cannot be loaded: {reason(e)}") from e


def reason(error: Exception) -> str:
    """What a library says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_REASON]


def device_notes(device: str) -> tuple[str, ...]:
    """What makes *device* slower than it could be."""
    is_slow = device == "cpu" and sys.platform == "linux" and not openblas_is_loaded()
    return (SLOW_BLAS_NOTE,) if is_slow else ()
