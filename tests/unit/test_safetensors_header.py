"""The safetensors header check: what a C++ parser would trust is looked at first."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from kernel.safetensors_header import read_tensors

GOOD = {
    "__metadata__": {"format": "mlx", "shape": "not a shape"},
    "b": {"dtype": "BF16", "shape": [3], "data_offsets": [32, 38]},
    "a": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
    "empty": {"dtype": "F32", "shape": [0, 4], "data_offsets": [38, 38]},
}


def file(header: object, data_bytes: int = 38, length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + bytes(data_bytes)


def check(path: Path, data: bytes) -> None:
    path = path / "model.safetensors"
    path.write_bytes(data)
    read_tensors(path)


def test_a_good_header_passes(tmp_path: Path) -> None:
    check(tmp_path, file(GOOD))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "truncated"),
        (b"\1\0\0\0\0\0\0\0", "truncated"),
        (file(GOOD, length=2**63), "truncated"),
        (file(GOOD, data_bytes=37), "38 bytes of tensors in a file with 37"),
        (file(GOOD, data_bytes=39), "38 bytes of tensors in a file with 39"),
        (file([1, 2]), "not a safetensors header"),
        (file({"a": 1}), "not a safetensors header"),
        (b"\4\0\0\0\0\0\0\0{{{{", "not a safetensors header"),
        (file({"a": {"dtype": "F32", "shape": [2]}}), "not a safetensors header"),
        (file({"a": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}}, 8), "unknown dtype 'F31'"),
        (file({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, 8), "negative"),
        (file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, 12), "begin at byte 0, got 4"),
        (file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, -8]}}, 8), "do not fit"),
        (file({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, 8), "do not fit"),
        (
            file({n: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for n in "ab"}, 8),
            "'b': expected to begin at byte 8, got 0",
        ),
    ],
)
def test_a_wrong_header_is_told_what_is_wrong(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match="e") as caught:
        check(tmp_path, data)

    assert said in str(caught.value)


def test_damaged_headers_raise_nothing_else(tmp_path: Path) -> None:
    rng = random.Random(3)
    good = file(GOOD)
    for _ in range(1000):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            check(tmp_path, bytes(data))
        except ValueError:
            continue
