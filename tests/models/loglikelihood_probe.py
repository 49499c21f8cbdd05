"""What plain mlx-lm says of prompts, in the text worker's environment: a model folder and token lists in, one
forward pass each. Out: for each prompt the log-probability of each token but the first, and the likeliest."""

from __future__ import annotations

import json
import sys

from workers.blas import preload_openblas

preload_openblas(sys.orig_argv)

import mlx.core as mx  # noqa: E402
from mlx_lm import load  # noqa: E402
from mlx_lm.utils import dequantize_model  # noqa: E402


def main() -> None:
    """Answer one order."""
    order = json.loads(sys.stdin.readline())
    model, _ = load(order["path"])
    # As the worker has it on a CPU, where 4-bit weights take seconds a token.
    model.set_dtype(mx.float32)
    model = dequantize_model(model)
    answers = []
    for tokens in order["prompts"]:
        logits = model(mx.array([tokens]))[0].astype(mx.float32)
        logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        chosen = mx.take_along_axis(logprobs[:-1], mx.array(tokens[1:], mx.int32)[:, None], axis=-1)[:, 0]
        best = mx.argmax(logprobs, axis=-1)
        answers.append(
            {"logprobs": chosen.tolist(), "best": best.tolist(), "last": logprobs[-1].max().item()}
        )
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
