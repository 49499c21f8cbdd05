"""The prompts on which the three implementations are compared: no picture, one, three of several sizes."""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image

from workers.vision.tiny_vl.training.conversations import Conversation, Message, Part
from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.scorecards import ScorecardScene
from workers.vision.tiny_vl.training.shapes import ShapesScene
from workers.vision.tiny_vl.training.surfaces import SolidScene


def parity_cases() -> list[Conversation]:
    """Four conversations of one turn, the same each time."""
    rng = Random(5)
    fonts = Fonts()
    noise = np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    three_shapes = ShapesScene(rng, 3).render(rng, 300, 190)
    several = [
        ScorecardScene(rng, fonts).render(rng, 336, 150),
        SolidScene(rng).render(rng, 64, 64),
        ShapesScene(rng, 1).render(rng, 140, 200),
    ]
    return [
        _conversation([Image.fromarray(noise)], "What color is the square?"),
        _conversation([three_shapes], "How many shapes are there?"),
        _conversation(several, "Which row is red?"),
        _conversation([], "Hello"),
    ]


def _conversation(images: list[Image.Image], question: str) -> Conversation:
    content: list[Part] = [{"type": "image"}] * len(images)
    content.append({"type": "text", "text": question})
    return Conversation(images, [Message("user", content), Message("assistant", "red")], ["color"])
