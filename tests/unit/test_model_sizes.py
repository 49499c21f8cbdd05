"""A model's weight and its keys and values, from config.json and the headers of its weights."""

from __future__ import annotations

from math import prod

import pytest

from kernel.model_sizes import ModelSizes, Tensor, sizes_of

BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "I64": 8}
# Published shapes.
LLAMA_8B = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "torch_dtype": "bfloat16",
}
GEMMA3_TEXT = {
    "model_type": "gemma3_text",
    "num_hidden_layers": 34,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 1024,
}


def tensor(dtype: str, *shape: int) -> Tensor:
    return Tensor(dtype, shape, (0, prod(shape) * BYTES[dtype]))


def sizes(config: dict[str, object], **tensors: Tensor) -> ModelSizes:
    return sizes_of(config, {name.replace("__", "."): one for name, one in tensors.items()}, 8192)


# --- weights ------------------------------------------------------------------------------------


def test_half_precision_doubles_as_float32() -> None:
    found = sizes({}, a__weight=tensor("BF16", 10, 10), b__weight=tensor("F32", 5), ids=tensor("I64", 3))

    assert found.weights(is_dense=False) == 200 + 20 + 24
    assert found.weights(is_dense=True) == 400 + 20 + 24


@pytest.mark.parametrize(
    ("quantization", "values_per_word"),
    [({"bits": 4, "group_size": 32}, 8), ({"bits": 4, "a": {"bits": 8, "group_size": 32}}, 4)],
)
def test_quantised_weights_are_unpacked_without_their_scales(
    quantization: dict[str, object], values_per_word: int
) -> None:
    found = sizes(
        {"quantization": quantization},
        a__weight=tensor("U32", 64, 16),
        a__scales=tensor("F16", 64, 4),
        a__biases=tensor("F16", 64, 4),
        norm__weight=tensor("F16", 64),
    )

    assert found.weights(is_dense=False) == 64 * 16 * 4 + 2 * 64 * 4 * 2 + 128
    assert found.weights(is_dense=True) == 64 * 16 * values_per_word * 4 + 64 * 4


# --- keys and values ----------------------------------------------------------------------------


def test_keys_and_values_of_grouped_heads() -> None:
    found = sizes(LLAMA_8B)

    # 128 KiB a token in bfloat16, as everybody counts it.
    assert found.kv_bytes(1024, is_dense=False) == 1024 * 128 * 1024
    assert found.kv_bytes(1024, is_dense=True) == 1024 * 256 * 1024


def test_float32_keys_stay_float32() -> None:
    assert sizes(LLAMA_8B | {"torch_dtype": "float32"}).kv_bytes(256, is_dense=False) == 256 * 256 * 1024


def test_a_sequence_takes_whole_steps_of_the_cache() -> None:
    found = sizes(LLAMA_8B)

    assert found.kv_bytes(1, is_dense=False) == found.kv_bytes(256, is_dense=False)
    assert found.kv_bytes(257, is_dense=False) == found.kv_bytes(512, is_dense=False)


def test_the_text_part_of_a_vision_model_counts() -> None:
    vision = {"num_hidden_layers": 99, "patch_size": 14, "hidden_size": 1280, "intermediate_size": 3420}

    found = sizes({"text_config": LLAMA_8B, "vision_config": vision, "hidden_size": 1})

    assert found.kv_bytes(256, is_dense=False) == 256 * 128 * 1024
    # 5,349 patches of 14 x 14.
    assert found.image_bytes(is_dense=False) == 5349 * (4 * 1280 + 2 * 3420) * 2


def test_window_layers_keep_a_window() -> None:
    found = sizes(GEMMA3_TEXT)

    # One of six layers keeps all, 29 keep 1,024 tokens.
    assert found.kv_bytes(8192, is_dense=False) == (8192 * 5 + 1024 * 29) * 2 * 4 * 256 * 2


def test_named_layers_are_counted_by_name() -> None:
    types = ["full_attention", "sliding_attention", "linear_attention", "sliding_attention"]

    found = sizes(LLAMA_8B | {"layer_types": types, "sliding_window": 512})

    assert found.kv_bytes(1024, is_dense=False) == (1024 + 2 * 512) * 2 * 8 * 128 * 2


@pytest.mark.parametrize(
    "unused", [{"sliding_window": 4096, "use_sliding_window": False}, {"sliding_window": None}]
)
def test_a_window_that_no_layer_is_said_to_have_does_not_count(unused: dict[str, object]) -> None:
    assert sizes(LLAMA_8B | unused) == sizes(LLAMA_8B)


def test_latent_attention_keeps_its_latents() -> None:
    config = {
        "model_type": "deepseek_v3",
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "hidden_size": 7168,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
    }

    assert sizes(config).kv_bytes(256, is_dense=False) == 256 * 61 * 576 * 2
    # mlx-lm unpacks those of the version before.
    unpacked = sizes(config | {"model_type": "deepseek_v2"})
    assert unpacked.kv_bytes(256, is_dense=False) == 256 * 61 * 128 * (192 + 128) * 2


@pytest.mark.parametrize("config", [LLAMA_8B, GEMMA3_TEXT])
@pytest.mark.parametrize("tokens", [256, 1024, 8192, 131072])
def test_what_fits_is_the_opposite_of_what_it_takes(config: dict[str, object], tokens: int) -> None:
    found = sizes(config)
    taken = found.kv_bytes(tokens, is_dense=True)

    assert found.tokens_in(taken, is_dense=True) == tokens
    assert found.tokens_in(taken - 1, is_dense=True) == tokens - 256


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_hidden_layers": "32"},
        {"num_hidden_layers": -1, "num_attention_heads": 0, "hidden_size": True},
        {"layer_types": 5, "text_config": [], "vision_config": 7, "quantization": "x"},
        {"num_hidden_layers": 10**30, "num_attention_heads": 1, "hidden_size": 1},
    ],
)
def test_a_config_that_does_not_say_counts_as_nothing(config: dict[str, object]) -> None:
    found = sizes(config)

    assert (found.kv_bytes(8192, is_dense=False), found.tokens_in(10**9, is_dense=False)) == (0, 0)
