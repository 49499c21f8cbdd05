"""How much memory a vision model needs: computed from its published shape, nothing is downloaded or measured.

Builds each model as mlx-vlm does, with weights that are never evaluated, and counts their bytes. Prints the
tables of docs/images.md. Run with the vision worker's Python:

    PYTHONPATH=. ~/.local/share/mlxd/envs/vision-*/bin/python tests/benchmarks/vision_memory.py
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from transports.settings import VisionSettings

# Of the machine, GB; and the larger side of a picture there (plugins/media/picture_size.py).
MACHINES = ((16, 512), (24, 512), (32, 768), (48, 768), (64, 1024), (96, 1024), (128, 1024))
# What a model may have of it; the rest is for the system and other programs.
SHARE = 0.6
# What is answered at once, and the longest of it, pictures included.
NUM_REQUESTS, NUM_TOKENS = 4, 8192
# For the libraries, activations and pixels: an allowance, not computed.
ALLOWANCE_GB = 1.5
# Of keys and values: bf16.
KV_BYTES = 2
# mlx-vlm's default.
GROUP_SIZE = 64
GB = 1e9
# What a worker keeps for prompts and pictures that come back.
CACHES_GB = (VisionSettings().prompt_cache_bytes + VisionSettings().image_cache_bytes) / GB

# Any: what a config.json has.
Shape = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A model and the shape in its config.json."""

    name: str
    # As published: with it the shape is known to be right.
    num_parameters: int
    shape: Shape
    # Side of the square that becomes a token, pixels; 0: always `tokens_per_picture`.
    pixels_per_token: int = 0
    tokens_per_picture: int = 0
    # Tokens that a layer with a sliding window keeps, and of how many layers one has none; 0: all have none.
    window: int = 0
    full_every: int = 1


def qwen25(name: str, num_parameters: int, text: Shape, vision_mlp: int) -> Candidate:
    """Qwen2.5-VL: one vision tower for all sizes."""
    vision = {
        "model_type": "qwen2_5_vl",
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": vision_mlp,
        "num_heads": 16,
        "out_hidden_size": text["hidden_size"],
    }
    shape = {**text, "model_type": "qwen2_5_vl", "head_dim": 128, "vision_config": vision}
    shape["rope_scaling"] = {"type": "mrope", "mrope_section": [16, 24, 24]}
    return Candidate(name, num_parameters, shape, pixels_per_token=28)


def qwen3(name: str, num_parameters: int, text: Shape, vision: Shape) -> Candidate:
    """Qwen3-VL."""
    text = {**text, "model_type": "qwen3_vl_text", "head_dim": 128, "vocab_size": 151936}
    text["rope_scaling"] = {"mrope_section": [24, 20, 20], "rope_type": "default"}
    vision = {**vision, "model_type": "qwen3_vl", "num_heads": 16, "num_position_embeddings": 2304}
    vision |= {"patch_size": 16, "out_hidden_size": text["hidden_size"]}
    shape = {"model_type": "qwen3_vl", "text_config": text, "vision_config": vision}
    return Candidate(name, num_parameters, shape, pixels_per_token=32)


def gemma3(name: str, num_parameters: int, text: Shape) -> Candidate:
    """Gemma 3: one vision tower for all sizes; five of six layers have a sliding window."""
    text = {**text, "model_type": "gemma3_text", "vocab_size": 262208, "tie_word_embeddings": True}
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "intermediate_size": 4304,
        "patch_size": 14,
        "image_size": 896,
    }
    shape = {"model_type": "gemma3", "text_config": text, "vision_config": vision, "vocab_size": 262208}
    # mlx-vlm keeps the output head apart from the embedding that it is equal to.
    num_parameters += 262208 * int(text["hidden_size"])
    return Candidate(name, num_parameters, shape, tokens_per_picture=256, window=1024, full_every=6)


def text(hidden: int, layers: int, heads: int, kv_heads: int, mlp: int, *, tied: bool, **more: int) -> Shape:
    """The language part of a config.json."""
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "tie_word_embeddings": tied,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 128000,
        "rope_theta": 1e6,
        **more,
    }


SMALL_EYES = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "deepstack_visual_indexes": [5, 11, 17],
}
LARGE_EYES = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "deepstack_visual_indexes": [8, 16, 24],
}
CANDIDATES = (
    qwen3("Qwen3-VL 2B", 2127532032, text(2048, 28, 16, 8, 6144, tied=True), SMALL_EYES),
    qwen25("Qwen2.5-VL 3B", 3754622976, text(2048, 36, 16, 2, 11008, tied=True, vocab_size=151936), 3420),
    gemma3("Gemma 3 4B", 4300079472, text(2560, 34, 8, 4, 10240, tied=True, head_dim=256)),
    qwen3("Qwen3-VL 4B", 4437815808, text(2560, 36, 32, 8, 9728, tied=True), SMALL_EYES),
    qwen25("Qwen2.5-VL 7B", 8292166656, text(3584, 28, 28, 4, 18944, tied=False, vocab_size=152064), 3420),
    qwen3("Qwen3-VL 8B", 8767123696, text(4096, 36, 32, 8, 12288, tied=False), LARGE_EYES),
    gemma3("Gemma 3 12B", 12187325040, text(3840, 48, 16, 8, 15360, tied=True, head_dim=256)),
    gemma3("Gemma 3 27B", 27432406640, text(5376, 62, 32, 16, 21504, tied=True, head_dim=128)),
    qwen25("Qwen2.5-VL 32B", 33452718336, text(5120, 64, 40, 8, 27648, tied=False, vocab_size=152064), 3456),
    qwen25("Qwen2.5-VL 72B", 73410777344, text(8192, 80, 64, 8, 29568, tied=False, vocab_size=152064), 3456),
)


@dataclass(frozen=True)
class Need:
    """What a candidate needs, bytes."""

    candidate: Candidate
    num_parameters: int
    # By bits a weight of the language part; the part with eyes stays in bf16.
    weights: dict[int, int]
    # Of one request of NUM_TOKENS.
    kv: int

    def total_gb(self, bits: int) -> float:
        """With NUM_REQUESTS at once."""
        return (self.weights[bits] + NUM_REQUESTS * self.kv) / GB + CACHES_GB + ALLOWANCE_GB


def main() -> None:
    """Print both tables as Markdown."""
    needs = [need(candidate) for candidate in CANDIDATES]
    print("\n".join((*models_table(needs), "", *machines_table(needs))))


def need(candidate: Candidate) -> Need:
    """Count the bytes of a candidate.

    Raises:
        ValueError: It has other parameters than the published model: its shape here is wrong.
    """
    num_parameters = sum(array.size for array in _arrays(build(candidate.shape)))
    if num_parameters != candidate.num_parameters:
        raise ValueError(f"{candidate.name}: expected {candidate.num_parameters}, got {num_parameters}")
    weights = {bits: _weights_bytes(candidate.shape, bits) for bits in (4, 8)}
    return Need(candidate, num_parameters, weights, _kv_bytes(candidate))


def build(shape: Shape) -> nn.Module:
    """mlx-vlm's model of that shape; its weights are never computed."""
    module = importlib.import_module(f"mlx_vlm.models.{shape['model_type']}")
    config = module.ModelConfig.from_dict({"text_config": {}, **shape})
    for part, kind in (("text_config", module.TextConfig), ("vision_config", module.VisionConfig)):
        if isinstance(getattr(config, part), dict):
            setattr(config, part, kind.from_dict(getattr(config, part)))
    model: nn.Module = module.Model(config)
    model.set_dtype(mx.bfloat16)
    return model


def models_table(needs: Sequence[Need]) -> Iterator[str]:
    """What each model needs."""
    sides = sorted({side for _, side in MACHINES})
    yield (
        "| model | parameters, 10⁹ | weights 4 bit, GB | 8 bit, GB | keys and values of 1000 tokens, MB | "
        f"tokens of a picture of {', '.join(map(str, sides))} pixels | in all 4 bit, GB | 8 bit, GB |"
    )
    yield "| --- " * 8 + "|"
    for each in needs:
        pictures = ", ".join(str(_picture_tokens(each.candidate, side)) for side in sides)
        yield (
            f"| {each.candidate.name} | {each.num_parameters / 1e9:.2f} | {each.weights[4] / GB:.1f} | "
            f"{each.weights[8] / GB:.1f} | {each.kv / NUM_TOKENS / 1000:.0f} | {pictures} | "
            f"{each.total_gb(4):.1f} | {each.total_gb(8):.1f} |"
        )


def machines_table(needs: Sequence[Need]) -> Iterator[str]:
    """What fits into each machine: the largest of each family."""
    yield "| memory, GB | for a model, GB | 4 bit | 8 bit |"
    yield "| --- " * 4 + "|"
    for memory_gb, _ in MACHINES:
        room_gb = memory_gb * SHARE
        fits = [", ".join(_largest(needs, bits, room_gb)) or "none of these" for bits in (4, 8)]
        yield f"| {memory_gb} | {room_gb:.1f} | {fits[0]} | {fits[1]} |"


def _largest(needs: Sequence[Need], bits: int, room_gb: float) -> Iterator[str]:
    fitting = [each for each in needs if each.total_gb(bits) <= room_gb]
    families = {each.candidate.name.rpartition(" ")[0]: each.candidate.name for each in fitting}
    return iter(families.values())


def _weights_bytes(shape: Shape, bits: int) -> int:
    model = build(shape)
    # As `mlx_vlm convert -q` does: the language part alone.
    nn.quantize(model.language_model, group_size=GROUP_SIZE, bits=bits)
    return sum(array.nbytes for array in _arrays(model))


def _kv_bytes(candidate: Candidate) -> int:
    text = candidate.shape.get("text_config", candidate.shape)
    num_layers = text["num_hidden_layers"]
    num_full = num_layers // candidate.full_every
    kept = num_full * NUM_TOKENS + (num_layers - num_full) * min(candidate.window or NUM_TOKENS, NUM_TOKENS)
    return kept * 2 * int(text["num_key_value_heads"]) * int(text["head_dim"]) * KV_BYTES


def _picture_tokens(candidate: Candidate, side: int) -> int:
    if not candidate.pixels_per_token:
        return candidate.tokens_per_picture
    return round(side / candidate.pixels_per_token) ** 2


def _arrays(model: nn.Module) -> Iterator[mx.array]:
    for _, array in tree_flatten(model.parameters()):
        yield array


if __name__ == "__main__":
    main()
