"""What a model folder must hold before any library opens it. Reads no weights and imports no mlx."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from transports.errors import ModelUnavailable

# The length of a safetensors header is written before it.
_LENGTH_BYTES = 8
# safetensors' own limit.
_MAX_HEADER_BYTES = 100_000_000
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tiktoken.model")
# What config.json calls the longest sequence, best known first.
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length")
# For a model that does not say: what mlx-lm's oldest models could do.
_FALLBACK_CONTEXT = 2048

Config = dict[str, object]


def vet(folder: Path) -> Config:
    """Check the folder; its config.json.

    Raises:
        ModelUnavailable: A file is missing or corrupt, or the model wants to run code of its own.
    """
    config = _read_object(folder / "config.json")
    # auto_map in config.json is harmless: mlx-lm has the model type itself, or refuses it.
    if "model_file" in config:
        raise ModelUnavailable(f"{folder}: model_file in config.json asks to run code; mlxd never does")
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ModelUnavailable(f"{folder / 'config.json'}: expected a model_type, got {model_type!r}")
    _vet_tokenizer(folder)
    for file in _weight_files(folder):
        _vet_safetensors(file)
    return config


def context_length(config: Config) -> int:
    """The longest sequence that the model was made for, tokens."""
    return _first_number(config, _CONTEXT_KEYS) or _FALLBACK_CONTEXT


def stated_vocab_size(config: Config) -> int:
    """How many logits the model says that it has; 0 if it does not say."""
    return _first_number(config, ("vocab_size",))


def _first_number(config: Config, keys: Sequence[str]) -> int:
    """What the first of *keys* that is there says; 0 if none does."""
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for key in keys:
            if isinstance(value := part.get(key), int) and value > 0:
                return value
    return 0


def _vet_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ModelUnavailable(f"{folder}: no tokenizer: expected {' or '.join(_TOKENIZER_FILES)}")
    if (folder / "tokenizer.json").is_file():
        _check_object(folder / "tokenizer.json")
    settings = folder / "tokenizer_config.json"
    if settings.is_file() and "auto_map" in _read_object(settings):
        raise ModelUnavailable(
            f"{folder}: auto_map in tokenizer_config.json asks to run code; mlxd never does"
        )


def _weight_files(folder: Path) -> Iterator[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = _read_object(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelUnavailable(f"{index}: expected a weight_map that names files")
        yield from (folder / str(name) for name in sorted(set(weight_map.values())))
        return
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ModelUnavailable(f"{folder}: no weights: expected model.safetensors")
    yield from files


def _vet_safetensors(file: Path) -> None:
    """Check that the header can be read and the data after it is all there."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(_LENGTH_BYTES))
            if length > _MAX_HEADER_BYTES:
                raise ValueError("the header is too long")
            header = json.loads(stream.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        expected = _LENGTH_BYTES + length + max(ends, default=0)
        found = file.stat().st_size
    except FileNotFoundError:
        raise ModelUnavailable(f"{file}: missing") from None
    except (OSError, ValueError, struct.error, LookupError, TypeError, AttributeError, RecursionError) as e:
        raise ModelUnavailable(f"{file}: corrupt: {e}") from None
    if found != expected:
        raise ModelUnavailable(f"{file}: corrupt: expected {expected} bytes, got {found}")


def _check_object(file: Path) -> None:
    """Look at a JSON object of megabytes without making one."""
    try:
        msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw])
    except (OSError, ValueError, RecursionError) as e:
        raise ModelUnavailable(f"{file}: corrupt: {e}") from None


def _read_object(file: Path) -> Config:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ModelUnavailable(f"{file}: missing") from None
    except (OSError, ValueError, RecursionError) as e:
        raise ModelUnavailable(f"{file}: corrupt: {e}") from None
    if not isinstance(content, dict):
        raise ModelUnavailable(f"{file}: corrupt: expected a JSON object")
    return content
