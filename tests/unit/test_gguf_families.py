"""Which tensors and settings of a GGUF file become which of an MLX model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from transports.errors import RequestError
from workers.gguf.families import Placed, check_family, configure, llama3_scaling, place
from workers.gguf.metadata import Metadata
from workers.gguf.reader import Tensor, Value
from workers.gguf.tensor_types import TYPES

HEADS, KV_HEADS, HEAD_DIM, HIDDEN, WIDE = 4, 2, 8, 32, 64


def metadata(architecture: str = "llama", **changed: Value | None) -> Metadata:
    values: dict[str, Value | None] = {
        "block_count": 1,
        "embedding_length": HIDDEN,
        "feed_forward_length": WIDE,
        "context_length": 512,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": 9.999999747378752e-06,
        "rope.freq_base": 10000.0,
        **{key.replace("__", "."): value for key, value in changed.items()},
    }
    full = {f"{architecture}.{key}": value for key, value in values.items() if value is not None}
    return Metadata({"general.architecture": architecture, **full})


def tensors(architecture: str = "llama") -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (100, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "blk.0.attn_norm.weight": (HIDDEN,),
        "blk.0.attn_q.weight": (HEADS * HEAD_DIM, HIDDEN),
        "blk.0.attn_k.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
        "blk.0.attn_v.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
        "blk.0.attn_output.weight": (HIDDEN, HEADS * HEAD_DIM),
        "blk.0.ffn_norm.weight": (HIDDEN,),
        "blk.0.ffn_gate.weight": (WIDE, HIDDEN),
        "blk.0.ffn_up.weight": (WIDE, HIDDEN),
        "blk.0.ffn_down.weight": (HIDDEN, WIDE),
    }
    if architecture == "qwen2":
        shapes |= {
            "blk.0.attn_q.bias": (HEADS * HEAD_DIM,),
            "blk.0.attn_k.bias": (KV_HEADS * HEAD_DIM,),
            "blk.0.attn_v.bias": (KV_HEADS * HEAD_DIM,),
        }
    if architecture == "qwen3":
        shapes |= {"blk.0.attn_q_norm.weight": (HEAD_DIM,), "blk.0.attn_k_norm.weight": (HEAD_DIM,)}
    return {name: tensor(name, shape) for name, shape in shapes.items()}


def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor(name=name, type=TYPES[1], shape=shape, offset=0, size_bytes=0)


def placed(architecture: str, found: Mapping[str, Tensor]) -> dict[str, Placed]:
    return {f"{one.layer}.{one.part}": one for one in place(metadata(architecture), found)}


def test_llama_tensors_get_their_mlx_names() -> None:
    found = placed("llama", tensors())

    assert found["model.embed_tokens.weight"].source.name == "token_embd.weight"
    assert found["model.layers.0.self_attn.o_proj.weight"].source.name == "blk.0.attn_output.weight"
    assert found["model.layers.0.post_attention_layernorm.weight"].source.name == "blk.0.ffn_norm.weight"
    assert len(tensors()) == len(found)


def test_only_llama_rows_of_q_and_k_are_reordered() -> None:
    llama, qwen = placed("llama", tensors()), placed("qwen2", tensors("qwen2"))

    reordered = {name: one.num_rope_heads for name, one in llama.items() if one.num_rope_heads}
    names = ("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight")
    assert dict(zip(names, (HEADS, KV_HEADS), strict=True)) == reordered
    assert not any(one.num_rope_heads for one in qwen.values())


def test_qwen_biases_and_norms_have_places() -> None:
    assert "model.layers.0.self_attn.v_proj.bias" in placed("qwen2", tensors("qwen2"))
    assert "model.layers.0.self_attn.q_norm.weight" in placed("qwen3", tensors("qwen3"))


@pytest.mark.parametrize("name", ["blk.0.ffn_gate_exps.weight", "blk.1.attn_q.weight", "rope.bias"])
def test_an_unknown_tensor_is_named(name: str) -> None:
    with pytest.raises(RequestError, match=name):
        place(metadata(), tensors() | {name: tensor(name, (1,))})


@pytest.mark.parametrize("name", sorted(tensors()))
def test_a_missing_tensor_is_named(name: str) -> None:
    found = tensors()
    del found[name]
    with pytest.raises(RequestError, match=name):
        place(metadata(), found)


@pytest.mark.parametrize("name", sorted(tensors()))
def test_a_tensor_of_another_shape_is_named(name: str) -> None:
    wrong = tensor(name, (*tensors()[name].shape[:-1], 31))
    with pytest.raises(RequestError, match=f"{name}.*got"):
        place(metadata(), tensors() | {name: wrong})


def test_the_output_head_is_the_embedding_where_there_is_none() -> None:
    own = tensors() | {"output.weight": tensor("output.weight", (100, HIDDEN))}

    assert configure(metadata(), tensors())["tie_word_embeddings"] is True
    assert configure(metadata(), own)["tie_word_embeddings"] is False
    assert "lm_head.weight" in placed("llama", own)


def test_the_config_has_the_files_numbers() -> None:
    config = configure(metadata(), tensors())

    assert config["model_type"] == "llama"
    assert config["rms_norm_eps"] == 1e-05
    assert (
        config["vocab_size"],
        config["max_position_embeddings"],
        config["head_dim"],
    ) == (100, 512, HEAD_DIM)


@pytest.mark.parametrize("key", ["block_count", "context_length", "attention.layer_norm_rms_epsilon"])
def test_a_missing_setting_is_named(key: str) -> None:
    with pytest.raises(RequestError, match=f"llama.{key} is missing"):
        configure(metadata(**{key.replace(".", "__"): None}), tensors())


@pytest.mark.parametrize("wrong", ["2", 0, -1, True, 1.5, [1, 2]])
def test_a_setting_of_a_wrong_kind_is_named(wrong: Value) -> None:
    with pytest.raises(RequestError, match=r"llama.block_count: expected"):
        place(metadata(block_count=wrong), tensors())


def test_rope_scaling_is_kept() -> None:
    yarn: dict[str, Value | None] = {
        "rope__scaling__type": "yarn",
        "rope__scaling__factor": 4.0,
        "rope__scaling__original_context_length": 128,
    }
    expected = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}

    assert expected == configure(metadata(**yarn), tensors())["rope_scaling"]
    with pytest.raises(RequestError, match="longrope"):
        configure(metadata(rope__scaling__type="longrope"), tensors())


def test_llama_3_factors_become_its_scaling() -> None:
    """Factors as llama.cpp's converter computes them for Llama 3.2: factor 32."""
    factors = []
    for index in range(32):
        wavelength = 2 * math.pi * 500000.0 ** (2 * index / 64)
        smooth = (8192 / wavelength - 1) / 3
        factors.append(
            1.0 if wavelength < 2048 else 32.0 if wavelength > 8192 else 1 / ((1 - smooth) / 32 + smooth)
        )

    assert llama3_scaling(factors, 500000.0)["factor"] == 32.0
    with pytest.raises(RequestError, match="not Llama 3's"):
        llama3_scaling([*factors[:-3], 5.0, 6.0, 32.0], 500000.0)


def test_other_architectures_are_refused_by_name() -> None:
    with pytest.raises(RequestError, match="'gemma3' is not supported; supported are llama, qwen2, qwen3"):
        check_family(metadata("gemma3"))
    with pytest.raises(RequestError, match="mixture-of-experts"):
        check_family(metadata(expert_count=8))


def test_biases_on_some_of_llamas_projections_are_refused() -> None:
    some = tensors() | {"blk.0.attn_q.bias": tensor("blk.0.attn_q.bias", (HIDDEN,))}
    with pytest.raises(RequestError, match="biases on some"):
        configure(metadata(), some)
