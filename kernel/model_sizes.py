"""What config.json and the headers of the weights say of the memory that a model needs. Pure.

What they do not tell is counted as more rather than less: layers that keep a state of fixed size count as
layers with keys and values, unless config.json names each layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

# Models with window layers whose config.json may leave out which: one of so many sees the whole context.
# mlx-lm's defaults (gemma3_text.py, cohere2.py).
WINDOW_PATTERNS = {"gemma3": 6, "gemma3_text": 6, "cohere2": 4}
# Keys and values unpacked, although the model has a rank for them (mlx-lm's deepseek_v2.py).
UNPACKED_LATENTS = ("deepseek_v2",)
# Grows in steps of so many tokens (mlx-lm's KVCache).
KV_STEP_TOKENS = 256
# Of a picture as large as `media.max_image_side` chooses by itself.
IMAGE_PIXELS = 1024 * 1024
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4")
DENSE_BYTES = 4
HALF_BYTES = 2

# Any: what JSON gives before it is looked at.
Config = Mapping[str, Any]


class Tensor(msgspec.Struct, frozen=True):
    """What the header of a safetensors file says of a tensor."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]

    @property
    def num_values(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of the file that it takes."""
        return self.data_offsets[1] - self.data_offsets[0]

    @property
    def is_float(self) -> bool:
        """Whether it holds numbers that a model computes with."""
        return self.dtype in FLOATS


class ModelSizes(msgspec.Struct, frozen=True, kw_only=True):
    """What a model weighs, as its weights are and as dense float32."""

    weights_bytes: int = 0
    dense_weights_bytes: int = 0
    # Numbers that a token leaves in the layers that keep all, and in those that keep `window_tokens`.
    kv_values: int = 0
    window_kv_values: int = 0
    window_tokens: int = 0
    # Of one of them, where the weights are not made dense.
    value_bytes: int = HALF_BYTES
    # Numbers that looking at a picture of `IMAGE_PIXELS` needs at once.
    image_values: int = 0
    # The longest sequence that the model was made for; 0 when it does not say.
    context_tokens: int = 0

    def weights(self, *, is_dense: bool) -> int:
        """Bytes of the weights in memory."""
        return self.dense_weights_bytes if is_dense else self.weights_bytes

    def kv_bytes(self, tokens: int, *, is_dense: bool) -> int:
        """Bytes of the keys and values of a sequence."""
        tokens = -(-tokens // KV_STEP_TOKENS) * KV_STEP_TOKENS
        values = tokens * self.kv_values + min(tokens, self.window_tokens) * self.window_kv_values
        return values * self._value_bytes(is_dense)

    def tokens_in(self, kv_bytes: int, *, is_dense: bool) -> int:
        """The longest sequence whose keys and values fit; in whole steps of the cache."""
        values = kv_bytes // self._value_bytes(is_dense)
        in_windows = self.window_tokens * self.window_kv_values
        both = self.kv_values + self.window_kv_values
        if not both:
            return 0
        tokens = values // both
        if tokens > self.window_tokens:
            # Without a layer that keeps all, any sequence fits.
            tokens = (values - in_windows) // self.kv_values if self.kv_values else 2**31
        return tokens // KV_STEP_TOKENS * KV_STEP_TOKENS

    def image_bytes(self, *, is_dense: bool) -> int:
        """Bytes that looking at a picture needs."""
        return self.image_values * self._value_bytes(is_dense)

    def _value_bytes(self, is_dense: bool) -> int:
        return DENSE_BYTES if is_dense else self.value_bytes


def sizes_of(config: Config, tensors: Mapping[str, Tensor], context_tokens: int) -> ModelSizes:
    """The sizes of a model.

    Args:
        config: Its config.json.
        tensors: Those of all its weight files by name.
        context_tokens: The longest sequence that it was made for.
    """
    text = _section(config, "text_config")
    layers, windows, window_tokens = _layers(text)
    per_layer = _kv_values_of_a_layer(text)
    return ModelSizes(
        weights_bytes=sum(tensor.num_bytes for tensor in tensors.values()),
        dense_weights_bytes=_dense_bytes(config, tensors),
        kv_values=layers * per_layer,
        window_kv_values=windows * per_layer,
        window_tokens=window_tokens,
        value_bytes=DENSE_BYTES if _dtype(text, config) == "float32" else HALF_BYTES,
        image_values=_image_values(_section(config, "vision_config") if "vision_config" in config else {}),
        context_tokens=context_tokens,
    )


def _dense_bytes(config: Config, tensors: Mapping[str, Tensor]) -> int:
    """As float32: what is quantised is unpacked, and its scales and biases are gone."""
    quantization = config.get("quantization") or config.get("quantization_config")
    plan = quantization if isinstance(quantization, dict) else {}
    total = 0
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        if part in ("scales", "biases") and f"{layer}.weight" in tensors:
            continue
        is_packed = tensor.dtype == "U32" and f"{layer}.scales" in tensors
        own = plan.get(layer)
        bits = _number(own if isinstance(own, dict) else plan, "bits") if is_packed else 0
        if bits:
            total += tensor.num_values * 32 // bits * DENSE_BYTES
        elif tensor.is_float:
            total += tensor.num_values * DENSE_BYTES
        else:
            total += tensor.num_bytes
    return total


def _layers(text: Config) -> tuple[int, int, int]:
    """Layers that keep the whole context, layers that keep a window of it, and the window's tokens."""
    count = _number(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    window = _number(text, "sliding_window", "sliding_window_size")
    types = text.get("layer_types")
    if isinstance(types, list) and types:
        full = sum(one == "full_attention" for one in types)
        windows = sum(one in ("sliding_attention", "chunked_attention") for one in types)
        # Others keep a state of fixed size. Names that say nothing of attention: all keep everything.
        return (full, windows, window) if full + windows else (len(types), 0, 0)
    if interval := _number(text, "full_attention_interval"):
        return -(-count // interval), 0, 0
    pattern = _number(text, "sliding_window_pattern") or WINDOW_PATTERNS.get(str(text.get("model_type")), 0)
    if window and pattern > 1:
        full = count // pattern
        return full, count - full, window
    return count, 0, 0


def _kv_values_of_a_layer(text: Config) -> int:
    heads = _number(text, "num_attention_heads", "n_head", "n_heads")
    latent = _number(text, "kv_lora_rank")
    if latent and text.get("model_type") not in UNPACKED_LATENTS:
        return latent + _number(text, "qk_rope_head_dim")
    if latent:
        keys = _number(text, "qk_nope_head_dim") + _number(text, "qk_rope_head_dim")
        return heads * (keys + _number(text, "v_head_dim"))
    kv_heads = _number(text, "num_key_value_heads", "num_kv_heads", "n_head_kv") or heads
    width = _number(text, "hidden_size", "n_embd", "d_model")
    return 2 * kv_heads * (_number(text, "head_dim") or (width // heads if heads else 0))


def _image_values(vision: Config) -> int:
    """Of one layer at a time: its input, its output, and the widest of what is between them."""
    patch = _number(vision, "patch_size")
    width = _number(vision, "hidden_size", "embed_dim", "width")
    between = _number(vision, "intermediate_size") or 4 * width
    return IMAGE_PIXELS // patch**2 * (4 * width + 2 * between) if patch else 0


def _section(config: Config, name: str) -> Config:
    section = config.get(name)
    return section if isinstance(section, dict) else config


def _dtype(*configs: Config) -> str:
    found = (config.get(key) for config in configs for key in ("dtype", "torch_dtype"))
    return next((str(one).removeprefix("torch.") for one in found if one), "")


def _number(config: Config, *keys: str) -> int:
    """The first of these keys that is a sane positive number; 0 without."""
    return next((value for value in _values(config, keys) if 0 < value < 2**31), 0)


def _values(config: Config, keys: Iterable[str]) -> Iterable[int]:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            yield value
