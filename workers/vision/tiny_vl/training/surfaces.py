"""Pictures without objects: one colour, or a pattern of which nothing can be said."""

from __future__ import annotations

import json
from random import Random

import numpy as np
from PIL import Image

from workers.vision.tiny_vl.training.colors import COLOR_NAMES, pick_rgb
from workers.vision.tiny_vl.training.questions import Turn, article, ask
from workers.vision.tiny_vl.training.scene import Description, caption
from workers.vision.tiny_vl.training.words import NOT_SURE, SHAPES


class SolidScene:
    """One colour."""

    kind = "solid"

    def __init__(self, rng: Random) -> None:
        self.color = rng.choice(COLOR_NAMES)
        self.rgb = pick_rgb(rng, self.color)

    def render(self, _rng: Random, width: int, height: int) -> Image.Image:
        return Image.new("RGB", (width, height), self.rgb)

    def phrase(self) -> str:
        return f"{article(f'plain {self.color}')} image"

    def as_json(self) -> Description:
        return {"kind": "solid", "color": self.color}

    def turns(self, rng: Random) -> list[Turn]:
        turns = [
            Turn("color", ask(rng, "solid"), self.color),
            Turn("color", ask(rng, "solid"), self.color),
            Turn("describe", ask(rng, "describe"), caption(self)),
            Turn("count", ask(rng, "count"), "0"),
            Turn("background", ask(rng, "bg"), self.color),
        ]
        if rng.random() < 0.3:
            turns.append(Turn("json", ask(rng, "json"), json.dumps(self.as_json())))
        if rng.random() < 0.4:
            shape = rng.choice(SHAPES)
            turns.append(
                rng.choice(
                    [
                        Turn("absent", ask(rng, "color_of", x=shape), f"There is no {shape}."),
                        Turn("absent", ask(rng, "number"), "There is no number."),
                        Turn("absent", ask(rng, "text"), "There is no text."),
                        Turn("yesno", ask(rng, "exists", a=article(shape)), "no"),
                    ]
                )
            )
        return turns


class PatternScene:
    """Noise, stripes, checks or a gradient: the model is to say that it is not sure."""

    kind = "other"

    def __init__(self, rng: Random) -> None:
        self.pattern = rng.choice(["noise", "blobs", "stripes", "checker", "gradient"])

    def render(self, rng: Random, width: int, height: int) -> Image.Image:
        noise = np.random.default_rng(rng.getrandbits(32))
        if self.pattern == "noise":
            return Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
        if self.pattern == "blobs":
            cells = noise.integers(3, 12)
            small = Image.fromarray(noise.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            return small.resize((width, height), Image.Resampling.BICUBIC)
        if self.pattern == "gradient":
            first, second = _two_colors(noise)
            if noise.random() < 0.5:
                share = np.linspace(0, 1, width)[None, :, None]
            else:
                share = np.linspace(0, 1, height)[:, None, None]
            blend = first.astype(float) * (1 - share) + second * share
            pixels = np.broadcast_to(blend, (height, width, 3)).astype(np.uint8)
            return Image.fromarray(np.ascontiguousarray(pixels))
        period = int(noise.integers(6 if self.pattern == "stripes" else 8, 40))
        first, second = _two_colors(noise)
        across, down = np.arange(width)[None, :] // period, np.arange(height)[:, None] // period
        if self.pattern == "checker":
            is_first = (across + down) % 2 == 0
        else:
            is_first = (across if noise.random() < 0.5 else down) % 2 == 0
        is_first = np.broadcast_to(is_first, (height, width))
        return Image.fromarray(np.where(is_first[..., None], first, second).astype(np.uint8))

    def phrase(self) -> str:
        return "a pattern"

    def as_json(self) -> Description:
        return {"kind": "pattern"}

    def turns(self, rng: Random) -> list[Turn]:
        return [
            Turn("other", ask(rng, "describe"), caption(self)),
            Turn("other", ask(rng, "count"), NOT_SURE),
            Turn("other", ask(rng, "solid"), NOT_SURE),
            Turn("other", ask(rng, "what_shape"), NOT_SURE),
            Turn("other", ask(rng, "number"), "There is no number."),
            Turn("other", ask(rng, "text"), "There is no text."),
        ]


def _two_colors(noise: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first = noise.integers(0, 256, 3)
    return first, (first + noise.integers(90, 160, 3)) % 256
