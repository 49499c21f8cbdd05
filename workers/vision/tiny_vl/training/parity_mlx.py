"""Compares mlx-vlm's Qwen2.5-VL with the logits that parity_torch.py kept.

python -m workers.vision.tiny_vl.training.parity_mlx FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_map
from mlx_vlm import load
from mlx_vlm.utils import prepare_inputs

from workers.vision.tiny_vl.training.parity_cases import parity_cases
from workers.vision.tiny_vl.training.paths import MODEL

# float32 against float32; a difference in the mathematics would be far larger.
MAX_DIFFERENCE = 1e-3


def main() -> None:
    """Compare all cases, each with a fresh model: one that saw a picture keeps its positions."""
    folder = Path(sys.argv[1])
    for number, conversation in enumerate(parity_cases()):
        kept = mx.load(str(folder / f"{number}.safetensors"))
        model, processor = load(str(MODEL))
        model.update(tree_map(lambda array: array.astype(mx.float32), model.parameters()))
        messages = [message._asdict() for message in conversation.messages]
        prompt = processor.tokenizer.apply_chat_template(messages, tokenize=False)
        inputs = prepare_inputs(processor, images=conversation.images or None, prompts=[prompt])
        ids = inputs.pop("input_ids")
        if ids[0].tolist() != kept["ids"].tolist():
            raise SystemExit(f"case {number}: the token ids differ")
        pixels, mask = inputs.pop("pixel_values", None), inputs.pop("attention_mask", None)
        logits = (
            model(ids, pixels, mask=mask, **inputs).logits[0] if pixels is not None else model(ids).logits[0]
        )
        difference = mx.abs(logits - kept["logits"]).max().item()
        print(f"case {number}: {ids.shape[1]} tokens, largest difference {difference:.1e}")
        if difference > MAX_DIFFERENCE:
            raise SystemExit(f"case {number}: the logits differ")


if __name__ == "__main__":
    main()
