"""mlx-vlm's models behind three calls: see a picture, read a part of a prompt, decode a step.

Written against mlx-vlm 0.7.10, which requirements.lock pins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
from mlx_vlm.models.cache import make_prompt_cache

from workers.vision.pictures import Seen

# Any: mlx and mlx-vlm publish no types that mypy sees outside a worker's environment.
Array = Any
Model = Any
KvCache = Any

# What `get_input_embeddings` gives for each token, with the tokens on axis 1.
_BY_TOKEN = ("inputs_embeds", "per_layer_inputs")
# Which tokens show a picture, shape (1, num_tokens); and for those what goes into deeper layers, with the
# layers on axis 0 and the tokens on axis 1.
_SHOWN, _DEEPSTACK = "visual_pos_masks", "deepstack_visual_embeds"
# A model that gives one of these does not put pictures in the place of tokens.
_FOREIGN = ("cross_attention_states", "decoder_inputs_embeds", "pos_hw")


class UnsupportedModel(Exception):
    """A model whose pictures go another way than through the embeddings of a prompt."""


class VisionModel:
    """A loaded model of mlx-vlm.

    Its language model keeps the rope positions of the last prompt in itself; here all positions are
    given with each call, so that nothing of one request reaches another.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._language = model.language_model
        # Qwen-VL and its kin count places in three dimensions within a picture.
        self.has_mrope = hasattr(self._language, "get_rope_index")

    def __call__(self, tokens: Array, cache: list[KvCache] | None, **inputs: Array) -> Array:
        """Logits, shape (num_rows, num_tokens, vocab_size)."""
        return self._language(tokens, cache=cache, **inputs).logits

    def make_cache(self) -> list[KvCache]:
        """Empty keys and values for one sequence."""
        caches: list[KvCache] = make_prompt_cache(self._language)
        return caches

    # --- pictures -------------------------------------------------------------------------

    def see(self, tokens: Sequence[int], inputs: Mapping[str, Array]) -> Seen:
        """Run the vision tower on one picture.

        Args:
            tokens: Those that stand for it in a prompt.
            inputs: What the processor made of it, without tokens.

        Raises:
            UnsupportedModel: See there.
        """
        inputs = dict(inputs)
        found = self._embed(tokens, inputs.pop("pixel_values"), **inputs)
        features = {name: found[name] for name in (*_BY_TOKEN, _SHOWN, _DEEPSTACK) if name in found}
        if isinstance(features.get(_DEEPSTACK), (list, tuple)):
            features[_DEEPSTACK] = mx.stack(features[_DEEPSTACK])
        if foreign := [name for name in _FOREIGN if name in found]:
            raise UnsupportedModel(f"pictures become {foreign[0]}")
        num_places = features["inputs_embeds"].shape[1]
        # Older models have one token for a picture, which becomes many places.
        places = list(tokens) if len(tokens) == num_places else [tokens[0]] * num_places
        grid = inputs.get("image_grid_thw")
        mx.eval(features, [] if grid is None else grid)
        mx.clear_cache()
        size = sum(array.nbytes for array in features.values())
        return Seen(tokens=places, features=features, grid=grid, size_bytes=size)

    # --- prompts --------------------------------------------------------------------------

    def positions(self, tokens: Sequence[int], pictures: Sequence[Seen]) -> tuple[Array, int]:
        """Rope positions of a prompt, and how far those after it lag behind the count of tokens.

        Args:
            pictures: Those in it, in their order.

        Returns:
            Positions of shape (3, 1, num_tokens), and the (negative) difference.
        """
        if not pictures:
            return mx.broadcast_to(mx.arange(len(tokens)), (3, 1, len(tokens))), 0
        grids = mx.concatenate([one.grid for one in pictures])
        positions, deltas = self._language.get_rope_index(mx.array([tokens]), image_grid_thw=grids)
        return mx.broadcast_to(positions, (3, 1, len(tokens))), int(deltas.item())

    @staticmethod
    def positions_at(positions: Array, lag: int, start: int, end: int) -> Array:
        """Those of the tokens [start, end), which may go past the prompt that *positions* is of."""
        num_known = positions.shape[-1]
        after = mx.arange(max(start, num_known), max(end, num_known)) + lag
        return mx.concatenate(
            [positions[..., start:end], mx.broadcast_to(after, (3, 1, after.size))], axis=-1
        )

    def read(
        self, tokens: Sequence[int], cache: list[KvCache], parts: Sequence[Part], **inputs: Array
    ) -> None:
        """Put tokens into *cache*.

        Args:
            parts: What the tokens show, if there are pictures among them.
        """
        if parts:
            inputs |= self._joined(parts)
        self(mx.array([tokens]), cache, **inputs)
        # The logits are not wanted and never computed.
        mx.eval([one.state for one in cache])
        # As mlx-lm does: what a long chunk needed is much more than what a decode step needs.
        mx.clear_cache()

    def _joined(self, parts: Sequence[Part]) -> dict[str, Array]:
        pieces = [part if isinstance(part, dict) else self._embed(part, None) for part in parts]
        joined = {
            name: mx.concatenate([piece[name] for piece in pieces], axis=1)
            for name in _BY_TOKEN
            if all(name in piece for piece in pieces)
        }
        deepstack = [piece[_DEEPSTACK] for piece in pieces if _DEEPSTACK in piece]
        if deepstack:
            nothing = [mx.zeros(piece["inputs_embeds"].shape[:2], dtype=mx.bool_) for piece in pieces]
            shown = [piece.get(_SHOWN, none) for piece, none in zip(pieces, nothing, strict=True)]
            joined |= {_SHOWN: mx.concatenate(shown, axis=1), _DEEPSTACK: mx.concatenate(deepstack, axis=1)}
        return joined

    def _embed(self, tokens: Sequence[int], pixels: Array | None, **inputs: Array) -> dict[str, Array]:
        found = self._model.get_input_embeddings(mx.array([tokens]), pixels, **inputs)
        return {name: value for name, value in found.to_dict().items() if value is not None}


# Tokens of text, or the features of some places of a picture.
Part = Sequence[int] | dict[str, Array]


def features_of(seen: Seen, start: int, end: int) -> dict[str, Array]:
    """The features of the places [start, end) of a picture."""
    features = {name: seen.features[name][:, start:end] for name in _BY_TOKEN if name in seen.features}
    if _DEEPSTACK in seen.features:
        shown = seen.features[_SHOWN]
        first, last = int(shown[:, :start].sum().item()), int(shown[:, :end].sum().item())
        features |= {_SHOWN: shown[:, start:end], _DEEPSTACK: seen.features[_DEEPSTACK][:, first:last]}
    return features
