"""Pictures of a number inside a coloured shape."""

from __future__ import annotations

import json
from random import Random

from PIL import Image

from workers.vision.tiny_vl.training.colors import contrasting, pick_background, pick_foreground
from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.questions import Turn, article, ask
from workers.vision.tiny_vl.training.scene import Canvas, Description, caption
from workers.vision.tiny_vl.training.shapes import draw_shape
from workers.vision.tiny_vl.training.words import SHAPES
from workers.vision.tiny_vl.training.writing import pick_number

# How much of a shape's extent the number may fill.
INNER = {"circle": 0.62, "square": 0.7, "triangle": 0.4}


class BadgeScene:
    """One shape with a number in it."""

    kind = "badge"

    def __init__(self, rng: Random, fonts: Fonts) -> None:
        self._fonts = fonts
        self.background_name, self.background = pick_background(rng)
        self.color, self.rgb = pick_foreground(rng, self.background_name, self.background)
        self.shape = rng.choice(SHAPES)
        self.text = pick_number(rng, [5, 4, 1])
        self.font = rng.choice(fonts.names)

    def render(self, rng: Random, width: int, height: int) -> Image.Image:
        canvas = Canvas(rng, width, height, self.background, smooth=0.2)
        k = canvas.scale
        extent = min(width, height) * k * rng.uniform(0.6, 0.94)
        cx = width * k / 2 + rng.uniform(-0.5, 0.5) * (width * k - extent) * 0.9
        cy = height * k / 2 + rng.uniform(-0.5, 0.5) * (height * k - extent) * 0.9
        draw_shape(canvas.draw, rng, self.shape, (cx, cy), extent, self.rgb)

        inner = INNER[self.shape] * extent
        left, top, right, bottom = self._fonts.get(self.font, 40).getbbox(self.text)
        size = min(inner / max(1, right - left), inner * 0.8 / max(1, bottom - top)) * 40
        font = self._fonts.get(self.font, size)
        left, top, right, bottom = font.getbbox(self.text)
        # A triangle has more room below its middle.
        lowered = 0.16 * extent if self.shape == "triangle" else 0
        place = (cx - (left + right) / 2, cy + lowered - (top + bottom) / 2)
        canvas.draw.text(place, self.text, font=font, fill=contrasting(self.rgb, 140))
        return canvas.finish()

    def phrase(self) -> str:
        return f"the number {self.text} in {article(f'{self.color} {self.shape}')}"

    def as_json(self) -> Description:
        return {"kind": "badge", "text": self.text, "color": self.color, "shape": self.shape}

    def turns(self, rng: Random) -> list[Turn]:
        turns = [
            Turn("number", ask(rng, "number"), self.text),
            Turn("color", ask(rng, "color_of", x=self.shape), self.color),
            Turn("shape", ask(rng, "what_shape"), self.shape),
            Turn("shape", ask(rng, "shape_of", c=self.color), self.shape),
            Turn("describe_number", ask(rng, "describe"), caption(self)),
            Turn("count", ask(rng, "count"), "1"),
            Turn("number", ask(rng, "text"), self.text),
        ]
        if rng.random() < 0.3:
            turns.append(Turn("json", ask(rng, "json"), json.dumps(self.as_json())))
        if self.background_name:
            turns.append(Turn("background", ask(rng, "bg"), self.background_name))
        return turns
