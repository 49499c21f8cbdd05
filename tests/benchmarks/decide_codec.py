"""Why msgspec encodes and msgpack unpacks bodies: microseconds a message. For ADR 3.

`python tests/benchmarks/decide_codec.py`
"""

from __future__ import annotations

import json
import sys
import timeit
from collections.abc import Callable
from importlib.metadata import version

import msgpack
import msgspec

from transports.codec import decode_body, decode_envelope, encode
from transports.envelope import Envelope
from transports.messages import Delta, Events

REPEAT = 5
NUM = 20_000


def microseconds(call: Callable[[], object]) -> float:
    """The best of some runs."""
    return min(timeit.repeat(call, number=NUM, repeat=REPEAT)) / NUM * 1e6


def main() -> None:
    """Print a table."""
    name = "Zr3xT0aQkV1mN8sPqLw2Yg"
    events = Events(items=(Delta(id=name, text=" word"),))
    envelope = encode(Envelope(version=1, type="events", ids=(name,), peer=name))
    body = encode(events)
    text = msgspec.json.encode(events)
    plain = msgspec.to_builtins(events)
    typed = msgspec.msgpack.Decoder(Events)
    calls: dict[str, Callable[[], object]] = {
        "encode a body: msgspec": lambda: encode(events),
        "encode a body: to_builtins + msgpack": lambda: msgpack.packb(msgspec.to_builtins(events)),
        "encode a body: json of the standard library": lambda: json.dumps(plain),
        "decode an envelope: msgspec": lambda: decode_envelope(envelope),
        "decode a body: msgspec alone, without limits": lambda: typed.decode(body),
        "decode a body: msgpack with limits + msgspec.convert (ours)": lambda: decode_body(body, Events),
        "decode a body: json + msgspec.convert": lambda: msgspec.convert(json.loads(text), Events),
    }
    for what, call in calls.items():
        print(f"{what:60} {microseconds(call):6.2f} us")
    print(f"body {len(body)} bytes, as JSON {len(text)}; an envelope {len(envelope)} bytes")
    print(f"msgspec {version('msgspec')}, msgpack {version('msgpack')}, python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
