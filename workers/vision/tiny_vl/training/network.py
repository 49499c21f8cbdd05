"""Qwen2.5-VL in plain torch, for training: same mathematics and parameter names as the published checkpoints.

Windows are masks, so that pictures of different sizes share a batch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Any: config.json, as it is.
Config = dict[str, Any]

ROPE_THETA = 10000.0
# Added where a patch may not look; -inf would make rows of padding NaN.
MASKED = -1e4
RMS_EPSILON = 1e-6


class RMSNorm(nn.Module):
    """Scales to unit mean square, in float32."""

    def __init__(self, size: int, epsilon: float = RMS_EPSILON) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (self.weight * y).to(x.dtype)


class MLP(nn.Module):
    """The gated feed-forward layer."""

    def __init__(self, size: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size, inner, bias)
        self.up_proj = nn.Linear(size, inner, bias)
        self.down_proj = nn.Linear(inner, size, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rope: x of shape (B, heads, N, head_dim), cos and sin of shape (B, 1, N, head_dim)."""
    first, second = x.float().chunk(2, -1)
    return (x.float() * cos + torch.cat([-second, first], -1) * sin).to(x.dtype)


class VisionAttention(nn.Module):
    """Attention among patches."""

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.num_heads = num_heads

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        batch, length, size = x.shape
        heads = self.qkv(x).view(batch, length, 3, self.num_heads, size // self.num_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(out.transpose(1, 2).reshape(batch, length, size))


class VisionBlock(nn.Module):
    """A layer of the vision tower."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config["hidden_size"]
        self.norm1, self.norm2 = RMSNorm(size), RMSNorm(size)
        self.attn = VisionAttention(size, config["num_heads"])
        self.mlp = MLP(size, config["intermediate_size"], bias=True)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), cos, sin, mask)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """A patch becomes a vector."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, size, (2, 14, 14), stride=(2, 14, 14), bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        # A still picture fills both temporal slots, so their weights add up.
        return functional.linear(patches, self.proj.weight.sum(2).flatten(1))


class Merger(nn.Module):
    """Four patches become one image token."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        self.ln_q = RMSNorm(size)
        self.mlp = nn.Sequential(nn.Linear(4 * size, 4 * size), nn.GELU(), nn.Linear(4 * size, out))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, size = x.shape
        return self.mlp(self.ln_q(x).view(batch, length // 4, 4 * size))


class VisionTower(nn.Module):
    """From patches to image tokens."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config["hidden_size"]
        self.full_attention = set(config["fullatt_block_indexes"])
        self.patch_embed = PatchEmbed(size)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config["depth"]))
        self.merger = Merger(size, config["out_hidden_size"])
        half = size // config["num_heads"] // 2
        frequencies = 1.0 / (ROPE_THETA ** (torch.arange(0, half, 2).float() / half))
        self.register_buffer("inv", frequencies, persistent=False)

    def forward(self, patches: Tensor, places: Tensor, images: Tensor, windows: Tensor) -> Tensor:
        """Image tokens, of shape (B, N / 4, out_hidden_size).

        Args:
            patches: uint8, shape (B, N, 588).
            places: Row and column in the picture; int16, shape (B, N, 2).
            images: Which picture a patch is of, -1 for padding; int16, shape (B, N).
            windows: Which window, as for images.
        """
        x = patches.to(torch.float32).mul_(1 / 127.5).sub_(1.0)
        x = self.patch_embed(x)
        angles = (places[..., None].float() * self.inv).flatten(2)
        angles = torch.cat([angles, angles], -1)[:, None]
        cos, sin = angles.cos(), angles.sin()
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
        in_image, in_window = _mask(images, dtype), _mask(windows, dtype)
        x = x.to(dtype)
        for index, block in enumerate(self.blocks):
            x = block(x, cos, sin, in_image if index in self.full_attention else in_window)
        return self.merger(x)


def _mask(groups: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero within a group, MASKED between groups."""
    is_same = groups[:, None, :, None] == groups[:, None, None, :]
    zero = torch.zeros((), dtype=dtype, device=groups.device)
    return torch.where(is_same, zero, torch.full_like(zero, MASKED))


class TextAttention(nn.Module):
    """Causal attention with grouped queries."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config["hidden_size"]
        self.num_heads, self.num_kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.head_dim = size // self.num_heads
        kv_size = self.num_kv_heads * self.head_dim
        self.q_proj, self.k_proj = nn.Linear(size, size), nn.Linear(size, kv_size)
        self.v_proj, self.o_proj = nn.Linear(size, kv_size), nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, size = x.shape

        def heads(projected: Tensor, count: int) -> Tensor:
            return projected.view(batch, length, count, self.head_dim).transpose(1, 2)

        q = rotate(heads(self.q_proj(x), self.num_heads), cos, sin)
        k = rotate(heads(self.k_proj(x), self.num_kv_heads), cos, sin)
        v = heads(self.v_proj(x), self.num_kv_heads)
        repeats = self.num_heads // self.num_kv_heads
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, size))


class TextBlock(nn.Module):
    """A layer of the language model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size, epsilon = config["hidden_size"], config["rms_norm_eps"]
        self.self_attn = TextAttention(config)
        self.mlp = MLP(size, config["intermediate_size"], bias=False)
        self.input_layernorm = RMSNorm(size, epsilon)
        self.post_attention_layernorm = RMSNorm(size, epsilon)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class LanguageModel(nn.Module):
    """From embeddings to hidden states, with positions in three dimensions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.sections = config["rope_scaling"]["mrope_section"]
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(TextBlock(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        frequencies = 1.0 / (config["rope_theta"] ** (torch.arange(0, head_dim, 2).float() / head_dim))
        self.register_buffer("inv", frequencies, persistent=False)

    def forward(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """Hidden (B, L, size), positions (3, B, L)."""
        by_axis = positions[..., None].float() * self.inv
        sections = by_axis.split(self.sections, -1)
        angles = torch.cat([section[index % 3] for index, section in enumerate(sections)], -1)
        angles = torch.cat([angles, angles], -1)[:, None]
        cos, sin = angles.cos(), angles.sin()
        for layer in self.layers:
            hidden = layer(hidden, cos, sin)
        return self.norm(hidden)


class TinyQwenVL(nn.Module):
    """The whole model; `logits` apart, so that training makes them for answers only."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.visual = VisionTower(config["vision_config"])
        self.model = LanguageModel(config)
        self.image_token = config["image_token_id"]
        depths = {"visual": config["vision_config"]["depth"], "model": config["num_hidden_layers"]}
        for name, parameter in self.named_parameters():
            _initialize(name, parameter, depths[name.partition(".")[0]])

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        patches: Tensor | None = None,
        places: Tensor | None = None,
        images: Tensor | None = None,
        windows: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of shape (B, L, size)."""
        hidden = self.model.embed_tokens(ids)
        if patches is not None:
            seen = self.visual(patches, places, images, windows)
            is_image = ids == self.image_token
            index = (is_image.cumsum(1) - 1).clamp_(0, seen.shape[1] - 1)
            gathered = torch.gather(seen, 1, index[..., None].expand(-1, -1, seen.shape[-1]))
            hidden = torch.where(is_image[..., None], gathered.to(hidden.dtype), hidden)
        return self.model(hidden, positions)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the vocabulary; the embeddings are tied."""
        return functional.linear(hidden, self.model.embed_tokens.weight.to(hidden.dtype))


def _initialize(name: str, parameter: Tensor, depth: int) -> None:
    if parameter.dim() == 1:
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        return
    deviation = min(0.06, 0.8 / math.sqrt(parameter[0].numel()))
    if "embed_tokens" in name:
        deviation = 0.04
    elif "patch_embed" in name:
        deviation = 0.03
    elif any(part in name for part in ("attn.proj", "o_proj", "down_proj")):
        # What is added to the residual stream by all layers together keeps its size.
        deviation /= math.sqrt(2 * depth)
    elif "merger.mlp.2" in name:
        deviation = 0.01
    nn.init.normal_(parameter, std=deviation)
