"""Msgpack to typed messages and back, with limits on what a peer can make us allocate.

Encoding is msgspec's (straight from structs). Envelopes are small and typed, so msgspec decodes them
too. Bodies come from anyone and are larger: msgpack unpacks them under limits, then msgspec checks
the types. docs/adr/0003 has the measurements.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgpack
import msgspec

from transports.errors import RemoteProtocolError
from transports.messages import PROTOCOL_VERSION, Envelope, Message

# An envelope with 1024 ids of 22 characters, twice.
MAX_ENVELOPE_BYTES = 64 * 1024
# Deeper than any message of ours; msgpack itself stops at 1024.
MAX_DEPTH = 32
# Token-id prompts are the longest arrays.
MAX_ARRAY_ITEMS = 1 << 20
MAX_MAP_ITEMS = 4096

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
    except (msgspec.DecodeError, RecursionError) as e:
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
    try:
        raw = msgpack.unpackb(
            frame,
            max_array_len=MAX_ARRAY_ITEMS,
            max_map_len=MAX_MAP_ITEMS,
            max_ext_len=0,
            strict_map_key=False,
            object_pairs_hook=_map_without_duplicates,
        )
        _check_depth(raw)
        return msgspec.convert(raw, into)
    except msgspec.ValidationError as e:
        raise RemoteProtocolError(f"{into.__name__}: {e}") from None
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as e:
        raise RemoteProtocolError(f"{into.__name__}: malformed msgpack: {type(e).__name__}: {e}") from None


# Any: what msgpack gives before the types are checked.
def _map_without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate keys in a map")
    if not all(isinstance(key, (str, int)) for key in result):
        raise ValueError("a map key is neither text nor integer")
    return result


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
