"""Which tensors and settings of a GGUF file become which of an MLX model, for each family we import."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct

from transports.errors import RequestError
from workers.gguf.metadata import Metadata
from workers.gguf.reader import Tensor

# GGUF architecture -> class name of the model in config.json; mlx-lm knows them by the architecture's name.
FAMILIES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}

_TOP = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_QWEN3_LAYER = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
# Llama 3's frequency factors; they go into config.json.
ROPE_FACTORS = "rope_freqs.weight"


class Placed(Struct, frozen=True, kw_only=True):
    """Where a tensor of the file goes."""

    source: Tensor
    # The layer's name in the MLX model, without ".weight".
    layer: str
    # "weight" or "bias".
    part: str
    # llama.cpp reorders the rows of these for its rope; 0 where it does not.
    num_rope_heads: int = 0


class Shape(Struct, frozen=True, kw_only=True):
    """The sizes of a model."""

    num_layers: int
    hidden: int
    feed_forward: int
    num_heads: int
    num_kv_heads: int
    head_dim: int

    @classmethod
    def read(cls, metadata: Metadata) -> Shape:
        """From the metadata of a file."""
        hidden = metadata.positive(".embedding_length")
        num_heads = metadata.positive(".attention.head_count")
        return cls(
            num_layers=metadata.positive(".block_count"),
            hidden=hidden,
            feed_forward=metadata.positive(".feed_forward_length"),
            num_heads=num_heads,
            num_kv_heads=metadata.positive(".attention.head_count_kv", num_heads),
            head_dim=metadata.positive(".attention.key_length", max(1, hidden // num_heads)),
        )

    def rows_and_columns(self, name: str) -> tuple[int | None, int]:
        """What shape the tensor *name* (without blk.N.) must have; rows None: a vector or the vocabulary."""
        heads, kv_heads = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        return {
            "attn_q": (heads, self.hidden),
            "attn_k": (kv_heads, self.hidden),
            "attn_v": (kv_heads, self.hidden),
            "attn_output": (self.hidden, heads),
            "ffn_gate": (self.feed_forward, self.hidden),
            "ffn_up": (self.feed_forward, self.hidden),
            "ffn_down": (self.hidden, self.feed_forward),
            "attn_q_norm": (None, self.head_dim),
            "attn_k_norm": (None, self.head_dim),
        }.get(name, (None, self.hidden))


def check_family(metadata: Metadata) -> None:
    """Refuse an architecture that we do not import.

    Raises:
        RequestError: It names what was found and what is supported.
    """
    if metadata.architecture not in FAMILIES:
        raise RequestError(
            f"GGUF architecture {metadata.architecture!r} is not supported; "
            f"supported are {', '.join(FAMILIES)}"
        )
    if metadata.integer(".expert_count", 0):
        raise RequestError("GGUF: mixture-of-experts models are not supported")


def place(metadata: Metadata, tensors: Mapping[str, Tensor]) -> list[Placed]:
    """Find a place for every tensor of the file.

    Raises:
        RequestError: One is missing, not known, or of the wrong shape.
    """
    shape = Shape.read(metadata)
    layer_names = _LAYER | (_QWEN3_LAYER if metadata.architecture == "qwen3" else {})
    expected = {f"{name}.weight": (name, layer) for name, layer in _TOP.items()}
    for number in range(shape.num_layers):
        for name, layer in layer_names.items():
            for part in ("weight",) if name.endswith("_norm") else ("weight", "bias"):
                expected[f"blk.{number}.{name}.{part}"] = (name, f"model.layers.{number}.{layer}")
    placed = []
    for full_name, tensor in tensors.items():
        if full_name == ROPE_FACTORS:
            continue
        if full_name not in expected:
            raise RequestError(f"GGUF tensor {full_name!r} is not known in a {metadata.architecture} model")
        name, layer = expected.pop(full_name)
        part = full_name.rpartition(".")[2]
        _check_shape(tensor, part, shape.rows_and_columns(name))
        placed.append(
            Placed(source=tensor, layer=layer, part=part, num_rope_heads=_rope_heads(metadata, shape, name))
        )
    # Biases and the output head, which may be the embedding, are not in every model.
    missing = [name for name in expected if name.endswith(".weight") and name != "output.weight"]
    if missing:
        raise RequestError(f"GGUF: {len(missing)} tensors are missing, the first is {missing[0]!r}")
    return placed


def configure(metadata: Metadata, tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """The model's config.json, without quantisation and token ids."""
    shape = Shape.read(metadata)
    if metadata.positive(".rope.dimension_count", shape.head_dim) != shape.head_dim:
        raise RequestError("GGUF: rope over a part of the head is not supported")
    rope_theta = metadata.number(".rope.freq_base", 10_000.0)
    config: dict[str, object] = {
        "architectures": [FAMILIES[metadata.architecture]],
        "model_type": metadata.architecture,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.num_layers,
        "intermediate_size": shape.feed_forward,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": metadata.positive(".context_length"),
        "rms_norm_eps": metadata.number(".attention.layer_norm_rms_epsilon"),
        "rope_theta": rope_theta,
        "vocab_size": tensors["token_embd.weight"].shape[0],
        "tie_word_embeddings": "output.weight" not in tensors,
        "hidden_act": "silu",
    }
    if metadata.architecture == "llama":
        config["attention_bias"] = _has_biases(tensors, ("attn_q", "attn_k", "attn_v", "attn_output"))
        config["mlp_bias"] = _has_biases(tensors, ("ffn_gate", "ffn_up", "ffn_down"))
    elif metadata.architecture == "qwen2" and shape.head_dim * shape.num_heads != shape.hidden:
        raise RequestError("GGUF: a qwen2 model whose heads are not embedding_length / head_count wide")
    if scaling := _rope_scaling(metadata):
        config["rope_scaling"] = scaling
    return config


def llama3_scaling(factors: list[float], rope_theta: float) -> dict[str, object]:
    """The rope_scaling that gives *factors*, the file's divisors of the rope frequencies.

    Only Llama 3's own constants are tried: 8192 positions, wavelengths 8192 / 1 and 8192 / 4.

    Raises:
        RequestError: They are of another kind.
    """
    factor, positions, low, high = max(factors), 8192, 1.0, 4.0
    for index, found in enumerate(factors):
        wavelength = 2 * math.pi * rope_theta ** (index / len(factors))
        smooth = min(1.0, max(0.0, (positions / wavelength - low) / (high - low)))
        expected = 1 / ((1 - smooth) / factor + smooth)
        if not math.isclose(found, expected, rel_tol=1e-3):
            raise RequestError(f"GGUF: {ROPE_FACTORS} holds frequency factors that are not Llama 3's")
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": positions,
    }


def _has_biases(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> bool:
    """Whether these layers have biases; mlx-lm's llama knows all of them or none."""
    found = {f"blk.0.{name}.bias" in tensors for name in names}
    if len(found) > 1:
        raise RequestError(f"GGUF: biases on some of {', '.join(names)} only are not supported")
    return found.pop()


def _rope_scaling(metadata: Metadata) -> dict[str, object] | None:
    kind = metadata.text(".rope.scaling.type", "none")
    if kind == "none":
        return None
    factor = metadata.number(".rope.scaling.factor", 1.0)
    if kind == "linear":
        return {"type": "linear", "factor": factor}
    if kind == "yarn":
        positions = metadata.positive(".rope.scaling.original_context_length")
        return {"type": "yarn", "factor": factor, "original_max_position_embeddings": positions}
    raise RequestError(f"GGUF: rope scaling {kind!r} is not supported; supported are linear and yarn")


def _rope_heads(metadata: Metadata, shape: Shape, name: str) -> int:
    if metadata.architecture != "llama":
        return 0
    return {"attn_q": shape.num_heads, "attn_k": shape.num_kv_heads}.get(name, 0)


def _check_shape(tensor: Tensor, part: str, expected: tuple[int | None, int]) -> None:
    rows, columns = expected
    if part == "bias":
        wanted: tuple[int, ...] = (columns if rows is None else rows,)
    elif rows is not None:
        wanted = (rows, columns)
    elif tensor.name in ("token_embd.weight", "output.weight"):
        wanted = (tensor.shape[0], columns)
    else:
        wanted = (columns,)
    if tensor.shape != wanted:
        raise RequestError(f"GGUF tensor {tensor.name!r}: expected shape {wanted}, got {tensor.shape}")
