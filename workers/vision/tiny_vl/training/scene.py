"""What every kind of picture can do: be drawn, be described, be asked about."""

from __future__ import annotations

from random import Random
from typing import Protocol

from PIL import Image, ImageDraw

from workers.vision.tiny_vl.training.colors import RGB
from workers.vision.tiny_vl.training.questions import Turn, sentence

# A picture as json.dumps takes it.
Description = dict[str, object]


class Scene(Protocol):
    """What is in a picture, before it has a size."""

    kind: str

    def render(self, rng: Random, width: int, height: int) -> Image.Image:
        """Draw it; may note where things went, which some questions are about."""

    def phrase(self) -> str:
        """In words, within a sentence."""

    def as_json(self) -> Description:
        """The answer to "Describe the image as JSON."."""

    def turns(self, rng: Random) -> list[Turn]:
        """Questions about it with their answers; after `render`."""


def caption(scene: Scene) -> str:
    """The answer to "Describe the image."."""
    return sentence(scene.phrase())


class Canvas:
    """A picture to draw on, now and then at twice the size so that edges become smooth."""

    def __init__(self, rng: Random, width: int, height: int, background: RGB, smooth: float = 0.35) -> None:
        self._size = (width, height)
        # Larger ones would take too long.
        self.scale = 2 if (rng.random() < smooth and width * height <= 360 * 360) else 1
        self._image = Image.new("RGB", (width * self.scale, height * self.scale), background)
        self.draw = ImageDraw.Draw(self._image)

    def finish(self) -> Image.Image:
        """The picture at its size."""
        if self.scale == 1:
            return self._image
        return self._image.resize(self._size, Image.Resampling.BILINEAR)
