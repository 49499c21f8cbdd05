"""What a prompt is made of: the item that answers a request which only wants to know that."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from transports.envelope import Message, RequestId

# Of a token's number, and of its size.
NUMBER_BYTES = 4


class Tokens(Message, tag="packed_tokens", frozen=True, kw_only=True):
    """An item of events: the tokens of a prompt. Followed by Done.

    Packed, as a million of them would take 0.1 s to read, in which a frontend answers nobody.
    """

    id: RequestId
    # Little-endian uint32 of shape (num_tokens,).
    ids: bytes
    # What they stand for, one behind the other; a character may be cut in two.
    text: bytes
    # Of each token's part of `text`, in bytes; as `ids`.
    sizes: bytes

    @classmethod
    def of(cls, request_id: RequestId, ids: Sequence[int], pieces: Sequence[bytes]) -> Tokens:
        """Pack them.

        Args:
            pieces: What each stands for.
        """
        return cls(id=request_id, ids=_packed(ids), text=b"".join(pieces), sizes=_packed([*map(len, pieces)]))

    @property
    def num_tokens(self) -> int:
        """How many there are."""
        return len(self.ids) // NUMBER_BYTES


def _packed(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)
