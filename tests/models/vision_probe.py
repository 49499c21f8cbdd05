"""What mlx-vlm itself says about pictures: a JSON object a line on stdin, its tokens on stdout.

Run with the Python of the vision environment. Each line names the folder of its model.
"""

from __future__ import annotations

import base64
import sys

import msgspec

from workers.blas import preload_openblas

preload_openblas(sys.orig_argv)

import mlx.core as mx  # noqa: E402
import mlx_vlm  # noqa: E402
from PIL import Image  # noqa: E402

from workers.generation.detokenize import Vocabulary  # noqa: E402

loaded = None
for line in sys.stdin.buffer:
    asked = msgspec.json.decode(line)
    if asked["model"] != loaded:
        loaded = asked["model"]
        model, processor = mlx_vlm.load(loaded)
        # As the worker has it on a CPU.
        model.set_dtype(mx.float32)
        vocabulary = Vocabulary(processor.tokenizer, "bytes")
    images = [
        Image.frombytes("RGB", tuple(size), base64.b64decode(pixels)) for size, pixels in asked["images"]
    ]
    content = [{"type": "image"} for _ in images] + [{"type": "text", "text": asked["question"]}]
    prompt = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    said = list(
        mlx_vlm.stream_generate(
            model, processor, prompt, image=images or None, max_tokens=40, temperature=0.0
        )
    )
    # The last one only tells how it ended.
    tokens = [one.token for one in said if one.finish_reason is None]
    answer = {
        "tokens": [vocabulary.bytes_of(token).hex() for token in tokens],
        "prompt_tokens": said[-1].prompt_tokens,
    }
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
