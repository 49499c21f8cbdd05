"""The tokens of a prompt, unpacked from what a worker said of them; for a thread where they are many."""

from __future__ import annotations

import struct

from transports.errors import RemoteProtocolError
from transports.tokens import NUMBER_BYTES, Tokens


def ids_of(found: Tokens) -> tuple[int, ...]:
    """Their ids.

    Raises:
        RemoteProtocolError: They end within one.
    """
    return _numbers(found.ids)


def pieces_of(found: Tokens) -> list[bytes]:
    """What each stands for.

    Raises:
        RemoteProtocolError: There are more or fewer tokens, or more or less text, than the sizes say.
    """
    sizes = _numbers(found.sizes)
    if len(sizes) != found.num_tokens or sum(sizes) != len(found.text):
        raise RemoteProtocolError(
            f"packed_tokens: expected sizes of {found.num_tokens} tokens and {len(found.text)} bytes, got "
            f"{len(sizes)} and {sum(sizes)}"
        )
    pieces, end = [], 0
    for size in sizes:
        pieces.append(found.text[end : end + size])
        end += size
    return pieces


def _numbers(packed: bytes) -> tuple[int, ...]:
    if len(packed) % NUMBER_BYTES:
        raise RemoteProtocolError(f"packed_tokens: expected whole numbers, got {len(packed)} bytes")
    return struct.unpack(f"<{len(packed) // NUMBER_BYTES}I", packed)
