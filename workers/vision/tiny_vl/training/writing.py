"""Pictures of one number or word."""

from __future__ import annotations

import json
from random import Random

from PIL import Image, ImageDraw

from workers.vision.tiny_vl.training.colors import STATUS, pick_background, pick_foreground
from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.questions import Turn, ask
from workers.vision.tiny_vl.training.scene import Description, caption
from workers.vision.tiny_vl.training.words import SHAPES, WORDS

CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def pick_number(rng: Random, weights: list[int]) -> str:
    """A number without leading zeros; *weights* are those of one digit, two digits and so on."""
    digits = rng.choices(range(1, len(weights) + 1), weights)[0]
    return str(rng.randint(0, 9)) if digits == 1 else str(rng.randint(10 ** (digits - 1), 10**digits - 1))


def pick_word(rng: Random) -> str:
    """A word of the list, or random capitals."""
    if rng.random() < 0.55:
        word = rng.choice(WORDS)
        chance = rng.random()
        return word if chance < 0.72 else (word.capitalize() if chance < 0.86 else word.lower())
    return "".join(rng.choice(CAPITALS) for _ in range(rng.choice([2, 3, 3, 4, 4, 5, 6])))


class TextScene:
    """A number or a word, as *kind* says."""

    def __init__(self, rng: Random, kind: str, fonts: Fonts) -> None:
        self.kind = kind
        self._fonts = fonts
        self.background_name, self.background = pick_background(rng)
        self.color, self.rgb = pick_foreground(
            rng, self.background_name, self.background, min_distance=120, min_luminance=40
        )
        self.font = rng.choice(fonts.names)
        self.text = pick_number(rng, [24, 30, 36, 10]) if kind == "number" else pick_word(rng)

    def render(self, rng: Random, width: int, height: int) -> Image.Image:
        image = Image.new("RGB", (width, height), self.background)
        left, top, right, bottom = self._fonts.get(self.font, 40).getbbox(self.text)
        largest = min(0.92 * width / max(1, right - left), 0.8 * height / max(1, bottom - top)) * 40
        smallest = max(16.0, 0.35 * largest)
        font = self._fonts.get(self.font, rng.uniform(min(smallest, largest), largest))
        left, top, right, bottom = font.getbbox(self.text)
        free_x, free_y = max(0, width - (right - left)), max(0, height - (bottom - top))
        if rng.random() < 0.4:
            x, y = free_x / 2, free_y / 2
        else:
            x, y = rng.uniform(0.02, 0.98) * free_x, rng.uniform(0.02, 0.98) * free_y
        ImageDraw.Draw(image).text((x - left, y - top), self.text, font=font, fill=self.rgb)
        if rng.random() < 0.12:
            angle = rng.uniform(-8, 8)
            image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=self.background)
        return image

    def phrase(self) -> str:
        return f"the {self.kind} {self.text} in {self.color}"

    def as_json(self) -> Description:
        return {"kind": self.kind, "text": self.text, "color": self.color}

    def turns(self, rng: Random) -> list[Turn]:
        kind = self.kind
        turns = [
            Turn(kind, ask(rng, kind), self.text),
            Turn(kind, ask(rng, kind), self.text),
            Turn(kind, ask(rng, "text"), self.text),
            Turn("color", ask(rng, "color_num" if kind == "number" else "color_word"), self.color),
            Turn(f"describe_{kind}", ask(rng, "describe"), caption(self)),
        ]
        if rng.random() < 0.35:
            turns.append(Turn("json", ask(rng, "json"), json.dumps(self.as_json())))
        if self.background_name:
            turns.append(Turn("background", ask(rng, "bg"), self.background_name))
        if rng.random() < 0.12:
            turns.append(self._about_what_is_not_there(rng))
        return turns

    def _about_what_is_not_there(self, rng: Random) -> Turn:
        shape = rng.choice(SHAPES)
        other = "number" if self.kind == "word" else "word"
        return rng.choice(
            [
                Turn("absent", ask(rng, "color_of", x=shape), f"There is no {shape}."),
                Turn("count", ask(rng, "count"), "0"),
                Turn("absent", ask(rng, other), f"There is no {other}."),
                Turn("absent", ask(rng, "which_row", s=rng.choice(list(STATUS))), "There is no scorecard."),
            ]
        )
