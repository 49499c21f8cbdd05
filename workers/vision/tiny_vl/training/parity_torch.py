"""Compares network.py with transformers' Qwen2.5-VL, and keeps the logits for parity_mlx.py.

python -m workers.vision.tiny_vl.training.parity_torch FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

from workers.vision.tiny_vl.training.encode import IMAGE, Encoded, encode
from workers.vision.tiny_vl.training.network import TinyQwenVL
from workers.vision.tiny_vl.training.parity_cases import parity_cases
from workers.vision.tiny_vl.training.patches import PATCH, smart_resize
from workers.vision.tiny_vl.training.paths import MODEL

# float32 against float32; a difference in the mathematics would be far larger.
MAX_DIFFERENCE = 1e-3


@torch.no_grad()
def ours(network: TinyQwenVL, encoded: Encoded) -> torch.Tensor:
    """Logits of shape (L, vocabulary)."""
    ids, positions = torch.tensor(encoded.ids)[None], torch.tensor(encoded.positions)[:, None]
    vision = () if encoded.vision is None else tuple(torch.tensor(array)[None] for array in encoded.vision)
    return network.logits(network(ids, positions, *vision))[0]


@torch.no_grad()
def theirs(model: torch.nn.Module, encoded: Encoded, grids: list[list[int]]) -> torch.Tensor:
    """The same from transformers."""
    ids = torch.tensor(encoded.ids)[None]
    inputs = {}
    if encoded.vision is not None:
        pixels = torch.tensor(encoded.vision.patches).float() / 127.5 - 1
        # Both temporal slots hold the picture.
        pixels = pixels.view(-1, 3, 1, PATCH**2).expand(-1, 3, 2, PATCH**2).reshape(len(pixels), -1)
        inputs = {"pixel_values": pixels, "image_grid_thw": torch.tensor(grids)}
    return model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == IMAGE).int(),
        **inputs,
    ).logits[0]


def main() -> None:
    """Compare all cases."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    network = TinyQwenVL(json.loads((MODEL / "config.json").read_text())).float().eval()
    weights = load_file(MODEL / "model.safetensors")
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        MODEL, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    for number, conversation in enumerate(parity_cases()):
        encoded = encode(conversation)
        if encoded is None:
            raise ValueError("encode: leaves nothing out without max_tokens")
        sizes = [smart_resize(image.height, image.width) for image in conversation.images]
        grids = [[1, height // PATCH, width // PATCH] for height, width in sizes]
        expected = theirs(model, encoded, grids)
        difference = (ours(network, encoded) - expected).abs().max().item()
        print(f"case {number}: {len(encoded.ids)} tokens, largest difference {difference:.1e}")
        if difference > MAX_DIFFERENCE:
            raise SystemExit(f"case {number}: the logits differ")
        arrays = {"ids": torch.tensor(encoded.ids), "logits": expected.contiguous()}
        save_file(arrays, out / f"{number}.safetensors")


if __name__ == "__main__":
    main()
