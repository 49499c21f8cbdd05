"""Writes a small model of each family with random weights: python vision_families.py TINY_VL FOLDER FAMILY...

Run with the Python of the vision environment. What such a model says means nothing, but it depends on every
token and every pixel.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path
from transformers import AutoTokenizer

# demo/tiny-vl's tokenizer.
VOCAB_SIZE = 1024
TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-6,
    "vocab_size": VOCAB_SIZE,
    "rope_theta": 10000.0,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
QWEN_IDS = {
    "image_token_id": 1020,
    "video_token_id": 1021,
    "vision_start_token_id": 1017,
    "vision_end_token_id": 1018,
    "eos_token_id": [1010],
}
PATCHES = {"patch_size": 14, "image_size": 56, "num_attention_heads": 2, "num_channels": 3}
# For the families that do not have Qwen's: <image> stands for a picture.
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}"
    "{% endif %}\n{% endfor %}assistant: "
)
EXTRA_TOKENS = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
EXTRA_TOKENS += [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
GEMMA_TOKENS = {"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
FIRST_EXTRA = VOCAB_SIZE


def qwen2_vl() -> dict[str, object]:
    vision = {"depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 2, "patch_size": 14}
    rope = {"type": "mrope", "mrope_section": [2, 3, 3]}
    return {**TEXT, **QWEN_IDS, "model_type": "qwen2_vl", "rope_scaling": rope, "vision_config": vision}


def qwen3_vl() -> dict[str, object]:
    """Features of its tower go into several layers of the language model."""
    vision = {"depth": 3, "hidden_size": 64, "intermediate_size": 128, "out_hidden_size": 64, "num_heads": 2}
    vision |= {"patch_size": 14, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    text = {
        **TEXT,
        "model_type": "qwen3_vl_text",
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
    }
    return {**QWEN_IDS, "model_type": "qwen3_vl", "text_config": text, "vision_config": vision}


def idefics3() -> dict[str, object]:
    """Cuts a picture into rows and columns, with words between them."""
    vision = {**PATCHES, "model_type": "idefics3", "num_hidden_layers": 2, "hidden_size": 32}
    vision |= {"intermediate_size": 64}
    vocab_size = VOCAB_SIZE + len(EXTRA_TOKENS)
    text = {**TEXT, "model_type": "llama", "vocab_size": vocab_size}
    return {
        "model_type": "idefics3",
        "image_token_id": FIRST_EXTRA,
        "eos_token_id": [1010],
        "scale_factor": 2,
        "vocab_size": vocab_size,
        "text_config": text,
        "vision_config": vision,
    }


def smolvlm() -> dict[str, object]:
    return idefics3() | {"model_type": "smolvlm"}


def gemma3() -> dict[str, object]:
    """Attends within a window in most layers; its pictures begin with a token of their own."""
    vision = {**PATCHES, "model_type": "siglip_vision_model", "num_hidden_layers": 2, "hidden_size": 32}
    vision |= {"intermediate_size": 64}
    text = {**TEXT, "model_type": "gemma3_text", "sliding_window": 32, "sliding_window_pattern": 2}
    vocab_size = VOCAB_SIZE + len(GEMMA_TOKENS)
    text |= {"query_pre_attn_scalar": 16, "mm_tokens_per_image": 4, "vocab_size": vocab_size}
    return {
        "model_type": "gemma3",
        "image_token_index": FIRST_EXTRA,
        "eos_token_id": [1010],
        "hidden_size": 64,
        "vocab_size": vocab_size,
        "mm_tokens_per_image": 4,
        "text_config": text,
        "vision_config": vision,
    }


SIDE = {"height": 56, "width": 56}
MEAN = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
# Family -> preprocessor_config.json, processor_config.json.
PROCESSORS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "idefics3": (
        {
            "image_processor_type": "Idefics3ImageProcessor",
            "size": {"longest_edge": 112},
            "max_image_size": {"longest_edge": 56},
            "do_image_splitting": True,
        }
        | MEAN,
        {"image_seq_len": 4},
    ),
    "smolvlm": (
        {
            "image_processor_type": "SmolVLMImageProcessor",
            "size": {"longest_edge": 112},
            "max_image_size": {"longest_edge": 56},
            "do_image_splitting": True,
        }
        | MEAN,
        {"image_seq_len": 4},
    ),
    "gemma3": (
        {"image_processor_type": "Gemma3ImageProcessor", "size": SIDE, "image_seq_length": 4} | MEAN,
        {"image_seq_length": 4},
    ),
}


def write(tiny_vl: Path, family: str, folder: Path) -> None:
    """Make the folder of a model."""
    folder.mkdir()
    config = globals()[family]()
    (folder / "config.json").write_text(json.dumps(config))
    if family in PROCESSORS:
        extra = GEMMA_TOKENS if family == "gemma3" else EXTRA_TOKENS
        tokenizer = AutoTokenizer.from_pretrained(tiny_vl, extra_special_tokens=extra)
        image = "<boi>" if family == "gemma3" else "<image>"
        tokenizer.chat_template = TEMPLATE.replace("<image>", image)
        tokenizer.save_pretrained(folder)
        preprocessor, processor = PROCESSORS[family]
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
        (folder / "processor_config.json").write_text(json.dumps(processor))
    else:
        for path in tiny_vl.iterdir():
            if path.name not in ("config.json", "model.safetensors"):
                shutil.copy(path, folder)
    module = import_module(f"mlx_vlm.models.{family}")
    model_config = module.ModelConfig.from_dict(json.loads((folder / "config.json").read_text()))
    for part in ("text", "vision"):
        held = getattr(model_config, f"{part}_config")
        if isinstance(held, dict):
            kind = getattr(module, f"{part.title()}Config")
            setattr(model_config, f"{part}_config", kind.from_dict(held))
    model = module.Model(model_config)
    mx.random.seed(7)
    # Gemma makes embeddings larger itself, and would say the last token again and again.
    embedding = 0.05 if family == "gemma3" else 1.0

    def drawn(path: str, weight: mx.array) -> mx.array:
        # Norms stay; all else is large enough that answers differ.
        if weight.ndim < 2:
            return weight
        return mx.random.normal(weight.shape) * (embedding if "embed_tokens" in path else 0.12)

    model.update(tree_map_with_path(drawn, model.parameters()))
    mx.save_safetensors(
        str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), metadata={"format": "mlx"}
    )


if __name__ == "__main__":
    tiny_vl, folder, *families = sys.argv[1:]
    for family in families:
        write(Path(tiny_vl), family, Path(folder, family))
