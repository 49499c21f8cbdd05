"""A real model that loads in no time: a llama with random weights. What it says is noise."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

# Keys and values of a token in float32: two layers, two heads of 16 numbers.
TOKEN_BYTES = 2 * 2 * 16 * 2 * 4


def write_tiny_llama(folder: Path, default: Path, renamed: Mapping[str, str] = MappingProxyType({})) -> None:
    """Two layers of random numbers with the tokenizer of the model in *default*, some tokens *renamed*."""
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (default / name).read_text()
        for old, new in renamed.items():
            text = text.replace(f'"{old}"', f'"{new}"')
        (folder / name).write_text(text)
    hidden, inner, vocabulary = 64, 128, 49152
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens": (vocabulary, hidden), "model.norm": (hidden,)}
    for layer in range(2):
        inside = {
            **{f"self_attn.{name}_proj": (hidden, hidden) for name in "qo"},
            **{f"self_attn.{name}_proj": (hidden // 2, hidden) for name in "kv"},
            **{f"mlp.{name}_proj": (inner, hidden) for name in ("gate", "up")},
            "mlp.down_proj": (hidden, inner),
            **dict.fromkeys(("input_layernorm", "post_attention_layernorm"), (hidden,)),
        }
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in inside.items()}
    header, data = {}, bytearray()
    rng = random.Random(1)
    # One of 256 numbers between -1/8 and 1/8 for each byte.
    numbers = [struct.pack("<e", (value - 127.5) / 1024) for value in range(256)]
    low, high = (bytes(number[place] for number in numbers) for place in (0, 1))
    for name, shape in shapes.items():
        begin = len(data)
        drawn = rng.randbytes(shape[0] * (*shape, 1)[1])
        data += bytes(2 * len(drawn))
        data[begin::2], data[begin + 1 :: 2] = drawn.translate(low), drawn.translate(high)
        header[f"{name}.weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
