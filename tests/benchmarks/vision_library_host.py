"""mlx-vlm alone, in the vision worker's environment: decodes what stdin asks for and tells the rate.

A line in: {"picture": a PNG file in base64, "tokens": N}. A line out: tokens a second of the decode steps.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import time

from workers.blas import preload_openblas

preload_openblas(sys.orig_argv)

import mlx.core as mx  # noqa: E402
import mlx_vlm  # noqa: E402
from PIL import Image  # noqa: E402


def main(folder: str) -> None:
    """Answer until stdin ends."""
    model, processor = mlx_vlm.load(folder)
    # The same weights in the same dtype as behind HTTP.
    if mx.default_device() == mx.Device(mx.cpu):
        model.set_dtype(mx.float32)
        mx.eval(model.parameters())
    tokenizer = processor.tokenizer
    # Go on past the end of the answer, as the requests do.
    tokenizer.stopping_criteria = lambda token: False
    content = [{"type": "image"}, {"type": "text", "text": "Describe the image."}]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    print("loaded", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        picture = Image.open(io.BytesIO(base64.b64decode(order["picture"]))).convert("RGB")
        first_s = 0.0
        for _ in mlx_vlm.stream_generate(
            model, processor, prompt, image=[picture], max_tokens=order["tokens"], temperature=0.0
        ):
            first_s = first_s or time.perf_counter()
        print((order["tokens"] - 1) / (time.perf_counter() - first_s), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
