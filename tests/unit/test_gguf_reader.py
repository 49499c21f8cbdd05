"""The GGUF header reader: right files are read, no wrong file gets past it."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from gguf_files import gguf, text, written

from transports.errors import RequestError
from workers.gguf.reader import read_header

F16, Q4_1 = 1, 3
METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "some.flag": True,
    "some.number": 0.5,
    "tokens": ["a", "b c", "é"],
    "types": [1, -1],
    "scores": [0.5, -1.0],
}
TENSORS = [("first", (2, 32), Q4_1, 0), ("second", (3,), F16, 64)]
GOOD = gguf(METADATA, TENSORS, data_bytes=96)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    header = read_header(written(tmp_path / "m.gguf", GOOD))

    assert header.metadata == METADATA
    first, second = header.tensors["first"], header.tensors["second"]
    assert (first.type.name, first.shape, first.size_bytes) == ("Q4_1", (2, 32), 40)
    assert (second.type.name, second.shape, second.size_bytes) == ("F16", (3,), 6)
    assert second.offset - first.offset == 64
    assert len(GOOD) - 96 == first.offset


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    end_of_last = len(GOOD) - 96 + 64 + 6
    for length in range(end_of_last):
        path.write_bytes(GOOD[:length])
        with pytest.raises(RequestError):
            read_header(path)


def test_damaged_files_raise_nothing_else(tmp_path: Path) -> None:
    """Random bytes changed; a file may still be read, but nothing points outside of it."""
    rng = random.Random(20)
    path = tmp_path / "m.gguf"
    for _ in range(2000):
        data = bytearray(GOOD)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(4, len(data))] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        path.write_bytes(data)
        try:
            header = read_header(path)
        except RequestError:
            continue
        assert all(tensor.offset + tensor.size_bytes <= len(data) for tensor in header.tensors.values())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a GGUF file"),
        (b"GG", "not a GGUF file"),
        (b"PK\x03\x04 a zip file", "not a GGUF file"),
        (gguf({}, version=1), "version: expected 2 or 3, got 1"),
        (gguf({"split.count": 3}), "one of 3 parts"),
        (gguf({"general.alignment": 12}), "general.alignment"),
        (gguf({}, [("t", (1, 32), 16, 0)], data_bytes=99), "has type IQ2_XXS; supported are F32"),
        (gguf({}, [("t", (1, 32), 77, 0)], data_bytes=99), "has type 77"),
        (gguf({}, [("t", (1, 33), Q4_1, 0)], data_bytes=99), "does not fit type Q4_1"),
        (gguf({}, [("t", (0,), F16, 0)], data_bytes=99), "does not fit"),
        (gguf({}, [("t", (1, 1, 1, 1, 1), F16, 0)], data_bytes=99), "dimensions, got 5"),
        (gguf({}, [("t", (4,), F16, 0), ("u", (4,), F16, 4)], data_bytes=99), "'u' overlaps"),
        (gguf({}, [("t", (4,), F16, 0), ("t", (4,), F16, 32)], data_bytes=99), "'t' occurs twice"),
        (gguf({}, [("t", (4,), F16, 0)], data_bytes=4), "truncated, fetch it again"),
        (gguf({}, [("t", (2**62, 2**62), F16, 0)]), "truncated"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_header(written(tmp_path / "m.gguf", data))

    assert said in caught.value.message
    assert caught.value.message.startswith("m.gguf: ")


def test_a_huge_array_is_refused_before_it_is_made(tmp_path: Path) -> None:
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 8, 2**40)
    with pytest.raises(RequestError, match="expected at most"):
        read_header(written(tmp_path / "m.gguf", data))


def test_a_key_twice_is_refused(tmp_path: Path) -> None:
    entry = text("a") + struct.pack("<II", 4, 1)
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + entry * 2
    with pytest.raises(RequestError, match="'a' occurs twice"):
        read_header(written(tmp_path / "m.gguf", data))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"):
        read_header(tmp_path / "m.gguf")
