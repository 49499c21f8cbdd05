"""Draws tokens with the text worker's sampler, in its environment: a line of JSON in, a line out.

In: {"logits": [...], "rows": [[sampling, position], ...]}. Out: the token of each row, all drawn in one call.
"""

from __future__ import annotations

import json
import sys

import mlx.core as mx
import msgspec

from transports.messages import Sampling
from workers.generation.params import Defaults, resolve
from workers.generation.sampling import sample


def main() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        rows = [
            resolve(msgspec.convert(sampling, Sampling), Defaults(), len(order["logits"]))
            for sampling, _ in order["rows"]
        ]
        logits = mx.array([order["logits"]] * len(rows))
        tokens = sample(logits, rows, [position for _, position in order["rows"]])
        print(json.dumps(tokens.tolist()), flush=True)


if __name__ == "__main__":
    main()
