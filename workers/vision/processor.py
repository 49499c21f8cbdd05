"""A picture's pixels to what the model's vision tower takes, by the model's own processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_vlm.utils import prepare_inputs
from PIL import Image

from workers.vision.pictures import Picture

# Any: processors of mlx-vlm and transformers; neither has types.
Processor = Any
Array = Any


class UnsuitablePicture(Exception):
    """A picture that the model's processor refuses."""


@dataclass(frozen=True, slots=True)
class PictureProcessor:
    """Makes tokens and arrays of pictures, one at a time.

    Args:
        processor: As mlx-vlm loads it.
        placeholder: What stands for a picture in a rendered prompt.
        image_token: Its token id, for the processors that do not know it themselves.
        first_token: What the tokenizer puts before every text, if anything.
    """

    processor: Processor
    placeholder: str
    image_token: int | None
    first_token: int | None

    def prepare(self, picture: Picture) -> tuple[list[int], dict[str, Array]]:
        """The tokens that stand for *picture* in a prompt, and what the vision tower takes.

        Raises:
            UnsuitablePicture: Too small, too long or otherwise not for this model.
        """
        image = Image.frombytes("RGB", (picture.width, picture.height), bytes(picture.pixels))
        try:
            inputs = prepare_inputs(
                self.processor,
                images=[image],
                prompts=[self.placeholder],
                image_token_index=self.image_token,
                add_special_tokens=False,
            )
        except Exception as e:
            # Whatever a processor raises, it is about these pixels: it gets nothing else from a request.
            raise UnsuitablePicture(f"{type(e).__name__}: {e}") from e
        if "pixel_values" not in inputs:
            raise UnsuitablePicture("the processor made nothing of it")
        tokens: list[int] = inputs.pop("input_ids")[0].tolist()
        inputs.pop("attention_mask", None)
        # Some put before every text what stands before a whole prompt.
        num_before = len(tokens) > 1 and tokens[0] == self.first_token
        tokens = tokens[num_before:]
        inputs["mask"] = mx.ones((1, len(tokens)), dtype=mx.int32)
        return tokens, inputs
