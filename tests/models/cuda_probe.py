"""What workers do for CUDA, in the text worker's environment on a CPU. Prints a line of JSON."""

from __future__ import annotations

import json

import mlx.core as mx

from transports.messages import Progress
from workers.generation import empty_attention
from workers.generation.warm_up import warm_up

before = mx.fast.scaled_dot_product_attention
empty_attention.install("metal")
is_left = mx.fast.scaled_dot_product_attention is before
empty_attention.install("cuda")
is_taken = mx.fast.scaled_dot_product_attention is not before

keys = mx.random.normal((1, 2, 7, 8))
of_none = mx.fast.scaled_dot_product_attention(mx.zeros((1, 4, 0, 8)), keys, keys[..., :5], scale=1.0)
queries = mx.random.normal((1, 4, 3, 8))
attend = empty_attention.scaled_dot_product_attention
ours, theirs = (one(queries, keys, keys, scale=1.0, mask="causal") for one in (attend, before))

computed: list[tuple[int, ...]] = []
told: list[Progress] = []


def compute(tokens: mx.array) -> mx.array:
    computed.append(tokens.shape)
    return tokens


warm_up(compute, "cpu", num_rows=3, num_tokens=4, on_progress=told.append)
on_cpu = len(computed)
warm_up(compute, "cuda", num_rows=3, num_tokens=4, on_progress=told.append)

print(
    json.dumps(
        {
            "is_installed": [is_left, is_taken],
            "of_none": of_none.shape,
            "is_same": mx.array_equal(ours, theirs).item(),
            "on_cpu": on_cpu,
            "computed": computed,
            "told": [one.fraction for one in told],
        }
    )
)
