"""A model folder is checked before any library opens it; the message names the file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from transports.errors import ModelUnavailable
from workers.generation.model_files import context_length, vet


def safetensors(num_bytes: int = 8, *, missing: int = 0) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [num_bytes // 4], "data_offsets": [0, num_bytes]}})
    return struct.pack("<Q", len(header)) + header.encode() + b"\0" * (num_bytes - missing)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that passes."""
    (tmp_path / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 64}')
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(safetensors())
    return tmp_path


def reason(folder: Path) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        vet(folder)
    return caught.value.message


def test_a_whole_folder_passes(folder: Path) -> None:
    assert vet(folder)["model_type"] == "llama"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_corrupt_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)

    assert reason(folder).startswith(f"{folder / name}: corrupt")


def test_a_missing_config_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()

    assert reason(folder) == f"{folder / 'config.json'}: missing"


def test_a_missing_tokenizer_is_told(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()

    assert "no tokenizer" in reason(folder)


def test_missing_weights_are_told(folder: Path) -> None:
    (folder / "model.safetensors").unlink()

    assert "no weights" in reason(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    assert reason(folder) == f"{folder / 'model-2.safetensors'}: missing"


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 600_000) + b'{"a":' * 120_000,
        b"",
        b"abc",
        b"\xff" * 64,
        struct.pack("<Q", 5) + b"hello",
        struct.pack("<Q", 2) + b"[]",
        safetensors(missing=3),
    ],
    ids=["nested", "empty", "short", "huge header", "no json", "no object", "truncated"],
)
def test_corrupt_weights_are_named(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)

    assert reason(folder).startswith(f"{folder / 'model.safetensors'}: corrupt")


def test_a_model_file_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama", "model_file": "evil.py"}')

    assert "never" in reason(folder)


def test_a_tokenizer_with_code_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.Tokenizer", null]}}')

    assert "auto_map" in reason(folder)


def test_leftover_auto_map_of_a_model_is_harmless(folder: Path) -> None:
    """Many published models of known types still name code that mlx-lm never looks at."""
    (folder / "config.json").write_text('{"model_type": "phi3", "auto_map": {"AutoModel": "x.Y"}}')

    assert vet(folder)["model_type"] == "phi3"


def test_a_config_without_a_type_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": 5}')

    assert "model_type" in reason(folder)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"text_config": {"max_position_embeddings": 4096}}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": None}, 2048),
        ({}, 2048),
    ],
)
def test_the_context_length_is_found(config: dict[str, object], expected: int) -> None:
    assert context_length(config) == expected
