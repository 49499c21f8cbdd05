"""Encoders with random weights, small enough to compute anywhere; the same wherever they are made.

Needs numpy and safetensors: a worker's environment has both, and so has that of the reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

WORDS = [
    *("the", "a", "red", "blue", "green", "fish", "dog", "house", "sees", "eats"),
    *("in", "on", "big", "small", "and"),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
HIDDEN, LAYERS, HEADS, BETWEEN, POSITIONS = 32, 2, 4, 64, 40

_COMMON = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": BETWEEN,
    "max_position_embeddings": POSITIONS,
}
_BERT = _COMMON | {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "pad_token_id": 0}
# Name -> config.json.
CONFIGS: Mapping[str, dict[str, Any]] = {
    "bert": _BERT | {"model_type": "bert", "architectures": ["BertModel"], "type_vocab_size": 2},
    "bert-cross": _BERT
    | {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "type_vocab_size": 2,
        "id2label": {"0": "LABEL_0"},
    },
    "xlm-roberta": _BERT
    | {"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "type_vocab_size": 1},
    "roberta-cross": _BERT
    | {
        "model_type": "roberta",
        "architectures": ["RobertaForSequenceClassification"],
        "type_vocab_size": 1,
        "id2label": {"0": "LABEL_0"},
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
    },
    "qwen3": _COMMON
    | {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_act": "silu",
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    },
}
_TYPES = {"bert": ("token_type_ids",), "bert-cross": ("token_type_ids",)}
# Name -> what modules.json and 1_Pooling/config.json say; a cross-encoder has neither.
POOLINGS = {"bert": "cls", "xlm-roberta": "mean", "qwen3": "lasttoken"}


def make(folder: Path, name: str) -> Path:
    """Write the model *name* below *folder*."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(CONFIGS[name]))
    (path / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    (path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "[PAD]",
                # As the tokenizers of published models of these types have it by themselves.
                "model_input_names": ["input_ids", *_TYPES.get(name, ()), "attention_mask"],
            }
        )
    )
    if pooling := POOLINGS.get(name):
        _write_modules(path, pooling)
    save_file(_weights(name), path / "model.safetensors", {"format": "pt"})
    return path


def _write_modules(path: Path, pooling: str) -> None:
    names = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if i == 0 else f"{i}_{name}",
            "type": f"sentence_transformers.models.{name}",
        }
        for i, name in enumerate(names)
    ]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    keys = {"cls": "cls_token", "mean": "mean_tokens", "lasttoken": "lasttoken"}
    settings = {f"pooling_mode_{key}": name == pooling for name, key in keys.items()}
    (path / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": HIDDEN, **settings})
    )


def _tokenizer() -> dict[str, Any]:
    vocab = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    special = [
        {"id": index, "content": word, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for index, word in enumerate(SPECIAL)
    ]

    def token(name: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": type_id}}

    def text(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    one = [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)]
    return {
        "version": "1.0",
        # Both switched on, as in published models: they are for other programs.
        "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {
            "strategy": {"Fixed": 8},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": special,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": one,
            "pair": [*one, text("B", 1), token("[SEP]", 1)],
            "special_tokens": {
                name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")
            },
        },
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": vocab,
            "unk_token": "[UNK]",
        },
    }


def _weights(name: str) -> dict[str, Any]:
    random = np.random.default_rng(7)
    shapes = _qwen3_shapes() if name == "qwen3" else _bert_shapes(name)
    weights = {}
    for key, shape in shapes.items():
        is_scale = key.endswith(("LayerNorm.weight", "norm.weight"))
        values = random.normal(1.0 if is_scale else 0.0, 0.2, shape)
        weights[key] = values.astype(np.float32)
    return weights


def _bert_shapes(name: str) -> dict[str, tuple[int, ...]]:
    config = CONFIGS[name]
    family = "bert" if config["model_type"] == "bert" else "roberta"
    prefix = f"{family}." if name.endswith("-cross") else ""
    trunk: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], HIDDEN),
        **_norm("embeddings.LayerNorm"),
    }
    for layer in range(LAYERS):
        place = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            trunk |= _linear(f"{place}.attention.self.{part}", HIDDEN, HIDDEN)
        trunk |= _linear(f"{place}.attention.output.dense", HIDDEN, HIDDEN)
        trunk |= _norm(f"{place}.attention.output.LayerNorm")
        trunk |= _linear(f"{place}.intermediate.dense", BETWEEN, HIDDEN)
        trunk |= _linear(f"{place}.output.dense", HIDDEN, BETWEEN)
        trunk |= _norm(f"{place}.output.LayerNorm")
    head: dict[str, tuple[int, ...]] = {}
    if name == "bert-cross":
        trunk |= _linear("pooler.dense", HIDDEN, HIDDEN)
        head = _linear("classifier", 1, HIDDEN)
    elif name == "roberta-cross":
        head = _linear("classifier.dense", HIDDEN, HIDDEN) | _linear("classifier.out_proj", 1, HIDDEN)
    return {prefix + key: shape for key, shape in trunk.items()} | head


def _qwen3_shapes() -> dict[str, tuple[int, ...]]:
    config = CONFIGS["qwen3"]
    width = config["head_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        place = f"model.layers.{layer}"
        shapes |= {
            f"{place}.self_attn.q_proj.weight": (HEADS * width, HIDDEN),
            f"{place}.self_attn.k_proj.weight": (2 * width, HIDDEN),
            f"{place}.self_attn.v_proj.weight": (2 * width, HIDDEN),
            f"{place}.self_attn.o_proj.weight": (HIDDEN, HEADS * width),
            f"{place}.self_attn.q_norm.weight": (width,),
            f"{place}.self_attn.k_norm.weight": (width,),
            f"{place}.mlp.gate_proj.weight": (BETWEEN, HIDDEN),
            f"{place}.mlp.up_proj.weight": (BETWEEN, HIDDEN),
            f"{place}.mlp.down_proj.weight": (HIDDEN, BETWEEN),
            f"{place}.input_layernorm.weight": (HIDDEN,),
            f"{place}.post_attention_layernorm.weight": (HIDDEN,),
        }
    return shapes


def _linear(place: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{place}.weight": (rows, columns), f"{place}.bias": (rows,)}


def _norm(place: str) -> dict[str, tuple[int, ...]]:
    return {f"{place}.weight": (HIDDEN,), f"{place}.bias": (HIDDEN,)}
