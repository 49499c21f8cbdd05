"""Weights files that are broken on purpose, from a seed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable

Header = dict[str, dict[str, object]]


def safetensors(header: object = None, data: bytes = bytes(96)) -> bytes:
    """A file of two tensors, or with another header."""
    if header is None:
        header = _header()
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def mutated(seed: int, count: int) -> list[bytes]:
    """Files that no reader should trust: headers that lie, are cut, or are none."""
    rng = random.Random(seed)
    return [rng.choice(_MUTATIONS)(rng) for _ in range(count)]


def _header() -> Header:
    return {
        "model.embed_tokens.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]},
        "model.norm.weight": {"dtype": "F16", "shape": [16], "data_offsets": [64, 96]},
    }


def _changed(change: Callable[[random.Random, Header], object]) -> Callable[[random.Random], bytes]:
    """A file whose header says something else."""

    def mutate(rng: random.Random) -> bytes:
        header = _header()
        change(rng, header)
        return safetensors(header)

    return mutate


def _tensor(rng: random.Random, header: Header) -> dict[str, object]:
    return header[rng.choice(list(header))]


def _other_offsets(rng: random.Random, header: Header) -> None:
    huge = [[0, 2**64 - 1], [2**63, 2**63 + 64]]
    _tensor(rng, header)["data_offsets"] = rng.choice(
        [*huge, [-64, 0], [64, 0], [1, 65], [32, 96], [0, 0], [0], [], "0", None]
    )


def _other_shape(rng: random.Random, header: Header) -> None:
    huge = [[2**32, 2**32], [2**70], [10**6] * 40]
    wrong = [-4, -4], [4, 4, 2], [0], [17], [1.5], ["4"], None, {}
    _tensor(rng, header)["shape"] = rng.choice([*huge, *wrong])


def _other_dtype(rng: random.Random, header: Header) -> None:
    wrong = ["F64", "F7", "", "I8", 5, None, ["F32"], "F32\0", "x" * 10_000]
    _tensor(rng, header)["dtype"] = rng.choice(wrong)


def _missing_key(rng: random.Random, header: Header) -> None:
    tensor = _tensor(rng, header)
    del tensor[rng.choice(list(tensor))]


def _no_object(rng: random.Random, header: Header) -> None:
    name = rng.choice(list(header))
    header[name] = rng.choice([None, [], 1, "x", {"dtype": {}}, [[]]])  # type: ignore[assignment]


def _truncated(rng: random.Random) -> bytes:
    whole = safetensors()
    return whole[: rng.randrange(len(whole))]


def _too_long(rng: random.Random) -> bytes:
    return safetensors() + rng.randbytes(rng.randint(1, 4096))


def _other_length(rng: random.Random) -> bytes:
    length = rng.choice([0, 1, 2**31, 2**32, 2**63, 2**64 - 1, rng.randrange(2**64)])
    return struct.pack("<Q", length) + safetensors()[8:]


def _other_bytes(rng: random.Random) -> bytes:
    """The header is no JSON any more: one of its signs is another byte."""
    file = bytearray(safetensors())
    at = rng.choice([at for at, byte in enumerate(file[:-96]) if at >= 8 and byte in b'{}":,'])
    file[at] = rng.choice([0, 1, 0x1F, 0x7F, 0x80, 0xFF])
    return bytes(file)


def _nested(rng: random.Random) -> bytes:
    depth = rng.choice([1_000, 100_000])
    return safetensors(b'{"a":' * depth + b"1" + b"}" * depth)


def _noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 7, 8, 9, 1000]))


_MUTATIONS: list[Callable[[random.Random], bytes]] = [
    *map(_changed, (_other_offsets, _other_shape, _other_dtype, _missing_key, _no_object)),
    *(_truncated, _too_long, _other_length, _other_bytes, _nested, _noise),
]
