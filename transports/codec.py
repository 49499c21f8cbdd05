"""Msgpack to typed messages and back, with limits on what a peer can make us allocate.

Encoding is msgspec's (straight from structs). Envelopes are small and typed, so msgspec decodes them
too. Bodies come from anyone and are larger: msgpack unpacks them under limits, then msgspec checks
the types. docs/adr/0003 has the measurements.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgpack
import msgspec

from transports.envelope import PROTOCOL_VERSION, Envelope, Message
from transports.errors import RemoteProtocolError

# An envelope with 1024 ids of 22 characters, twice.
MAX_ENVELOPE_BYTES = 64 * 1024
# Deeper than any message of ours; msgpack itself stops at 1024.
MAX_DEPTH = 32
# Token-id prompts are the longest arrays.
MAX_ARRAY_ITEMS = 1 << 20
MAX_MAP_ITEMS = 4096
# Of a whole body; an array or map counts as 8 besides what is in it. Without it each byte of a
# body could be an empty map that takes 64 bytes of memory.
MAX_VALUES = 1 << 21
CONTAINER_COST = 8
# Not bool, which is an int elsewhere.
KEY_TYPES = frozenset({str, int})

T = TypeVar("T", bound=Message)

_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(message: Message | Envelope) -> bytes:
    """A message or envelope as one frame."""
    return _encoder.encode(message)


def decode_envelope(frame: bytes | memoryview) -> Envelope:
    """Check and read frame 0.

    Raises:
        RemoteProtocolError: Too large, not msgpack, wrong types, or another protocol version.
    """
    if len(frame) > MAX_ENVELOPE_BYTES:
        raise RemoteProtocolError(f"envelope: expected at most {MAX_ENVELOPE_BYTES} bytes, got {len(frame)}")
    try:
        envelope = _envelope_decoder.decode(frame)
    # ValueError: text that is not UTF-8.
    except (msgspec.DecodeError, ValueError, RecursionError) as e:
        raise RemoteProtocolError(f"envelope: {e}") from None
    if envelope.version != PROTOCOL_VERSION:
        raise RemoteProtocolError(
            f"envelope: expected protocol version {PROTOCOL_VERSION}, got {envelope.version}"
        )
    return envelope


def decode_body(frame: bytes | memoryview, into: type[T]) -> T:
    """Check and read frame 1 as a message of type *into*.

    Raises:
        RemoteProtocolError: Not msgpack, over a limit, ext types, duplicate keys, or wrong types.
    """
    counter = _Counter()
    try:
        raw = msgpack.unpackb(
            frame,
            # msgpack makes room for as many items as a header promises, before it has seen one.
            max_array_len=min(MAX_ARRAY_ITEMS, len(frame)),
            max_map_len=MAX_MAP_ITEMS,
            max_ext_len=0,
            strict_map_key=False,
            list_hook=counter.array,
            object_pairs_hook=counter.map,
        )
        # So few cannot nest deeper.
        if counter.num_containers > MAX_DEPTH:
            _check_depth(raw)
        return msgspec.convert(raw, into)
    except msgspec.ValidationError as e:
        raise RemoteProtocolError(f"{into.__name__}: {e}") from None
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as e:
        raise RemoteProtocolError(f"{into.__name__}: malformed msgpack: {type(e).__name__}: {e}") from None


# Any: what msgpack gives before the types are checked.
class _Counter:
    """Counts the values of one body while they are unpacked, and refuses maps that are none of ours."""

    # Called for each array and map: one call and no dictionary of its own make a third of the time.
    __slots__ = ("_num_left", "num_containers")

    def __init__(self) -> None:
        self._num_left = MAX_VALUES
        self.num_containers = 0

    def array(self, items: list[Any]) -> list[Any]:
        self.num_containers += 1
        self._num_left -= CONTAINER_COST + len(items)
        if self._num_left < 0:
            raise _too_many()
        return items

    def map(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self.num_containers += 1
        self._num_left -= CONTAINER_COST + len(pairs)
        if self._num_left < 0:
            raise _too_many()
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("duplicate keys in a map")
        if not KEY_TYPES.issuperset(map(type, result)):
            raise ValueError("a map key is neither text nor integer")
        return result


def _too_many() -> ValueError:
    return ValueError(f"more than {MAX_VALUES} values")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")
