"""Writes all files of the model but its weights: tokenizer, configuration, processor, chat template.

python -m workers.vision.tiny_vl.training.build_base FOLDER [--fonts FOLDER]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer

from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.patches import MAX_PIXELS, MIN_PIXELS
from workers.vision.tiny_vl.training.paths import MODEL
from workers.vision.tiny_vl.training.tokenizer import (
    PLAIN,
    SPECIAL,
    VOCABULARY,
    make_tokenizer,
    save_tokenizer,
)

CONTEXT_LENGTH = 4096
VISION_CONFIG = {
    # transformers writes "qwen2_5_vl_vision", which mlx-vlm does not take.
    "model_type": "qwen2_5_vl",
    "depth": 5,
    "hidden_act": "silu",
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_heads": 3,
    "in_chans": 3,
    "in_channels": 3,
    "out_hidden_size": 256,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "spatial_patch_size": 14,
    "window_size": 112,
    # The others look at their windows only: both ways of the real model are there.
    "fullatt_block_indexes": [2, 4],
    "tokens_per_second": 2,
    "temporal_patch_size": 2,
}


def model_config(ids: dict[str, int]) -> dict[str, object]:
    """config.json. Flat, as the real one: from a nested text_config mlx-vlm reads nothing."""
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "attention_dropout": 0.0,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "hidden_act": "silu",
        "hidden_size": 256,
        "initializer_range": 0.02,
        "intermediate_size": 512,
        "max_position_embeddings": CONTEXT_LENGTH,
        "max_window_layers": 4,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [8, 12, 12]},
        "sliding_window": 4096,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": VOCABULARY,
        "vision_config": VISION_CONFIG,
    }


def tokenizer_config(ids: dict[str, int], template: str) -> dict[str, object]:
    """tokenizer_config.json."""
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(ids[token]): {
                "content": token,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": token in SPECIAL,
            }
            for token in SPECIAL + PLAIN
        },
        "additional_special_tokens": SPECIAL[1:],
        "bos_token": None,
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": CONTEXT_LENGTH,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def generation_config(ids: dict[str, int]) -> dict[str, object]:
    """generation_config.json."""
    return {
        "bos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "do_sample": False,
    }


def processor_config() -> dict[str, object]:
    """preprocessor_config.json."""
    return {
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "rescale_factor": 1 / 255,
        "resample": 3,
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
    }


def write_configs(tokenizer: Tokenizer, template: str, out: Path) -> None:
    """Write everything that is JSON."""
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL + PLAIN}
    files = {
        "config.json": model_config(ids),
        "generation_config.json": generation_config(ids),
        "preprocessor_config.json": processor_config(),
        "chat_template.json": {"chat_template": template},
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=2))
    text = json.dumps(tokenizer_config(ids, template), indent=2, ensure_ascii=False)
    (out / "tokenizer_config.json").write_text(text, encoding="utf-8")


def main() -> None:
    """Make the tokenizer and write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--fonts", type=Path, help="as for training; their number changes what is drawn")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(Fonts(options.fonts))
    save_tokenizer(tokenizer, options.out)
    # Qwen2.5-VL's own, with the default system message.
    template = json.loads((MODEL / "chat_template.json").read_text())["chat_template"]
    write_configs(tokenizer, template, options.out)


if __name__ == "__main__":
    main()
