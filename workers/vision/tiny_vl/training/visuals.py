"""Pictures for a conversation: which scenes, how large, drawn."""

from __future__ import annotations

import io
from random import Random
from typing import Literal, NamedTuple

from PIL import Image

from workers.vision.tiny_vl.training.badges import BadgeScene
from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.patches import num_image_tokens, smart_resize
from workers.vision.tiny_vl.training.scene import Scene
from workers.vision.tiny_vl.training.scorecards import ScorecardScene
from workers.vision.tiny_vl.training.shapes import ShapesScene
from workers.vision.tiny_vl.training.surfaces import PatternScene, SolidScene
from workers.vision.tiny_vl.training.writing import TextScene

# "lookup": a scorecard that is asked for rows only; "later": a new picture in a later turn.
Mode = Literal["text", "one", "multi", "later", "lookup"]

KIND_WEIGHTS = {
    "shapes": 30,
    "number": 14,
    "word": 15,
    "badge": 6,
    "scorecard": 24,
    "solid": 4,
    "other": 2,
}
SQUARE_SIDES = (112, 128, 140, 160, 168, 196, 200, 224, 224, 224, 252, 256, 280, 300, 320, 336)
SOLID_SIDES = (1, 2, 4, 8, 10, 16, 32, 50, 64, 100)


class Visual(NamedTuple):
    """The pictures of a conversation."""

    mode: Mode
    scenes: list[Scene]
    images: list[Image.Image]


def make_visual(rng: Random, fonts: Fonts, max_tokens: int = 64, lookup_share: float = 0.0) -> Visual:
    """Draw the pictures of a conversation.

    Args:
        rng: Decides all.
        fonts: To write with.
        max_tokens: Image tokens of all pictures together.
        lookup_share: Of all visuals, how many are scorecards that are asked for rows only; [0, 1].
    """
    if lookup_share and rng.random() < lookup_share:
        card = ScorecardScene(rng, fonts)
        return Visual("lookup", [card], [_draw(rng, card, *_pick_size(rng, max_tokens, card))])
    mode: Mode
    scenes: list[Scene]
    chance = rng.random()
    if chance < 0.04:
        return Visual("text", [], [])
    if chance < 0.16:
        count = rng.choice([2, 2, 3])
        mode, scenes = "multi", [_simple_scene(rng, fonts) for _ in range(count)]
    elif chance < 0.19:
        mode, scenes = "later", [_simple_scene(rng, fonts) for _ in range(2)]
    else:
        mode, scenes = "one", [make_scene(rng, fonts)]
    share = max_tokens // len(scenes)
    images = []
    for scene in scenes:
        width, height = _pick_size(rng, share, scene)
        if num_image_tokens(height, width) > share:
            width = height = 112
        images.append(_draw(rng, scene, width, height))
    return Visual(mode, scenes, images)


def make_scene(rng: Random, fonts: Fonts) -> Scene:
    """A scene of any kind."""
    kind = rng.choices(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))[0]
    match kind:
        case "shapes":
            return ShapesScene(rng)
        case "number" | "word":
            return TextScene(rng, kind, fonts)
        case "badge":
            return BadgeScene(rng, fonts)
        case "scorecard":
            return ScorecardScene(rng, fonts)
        case "solid":
            return SolidScene(rng)
        case _:
            return PatternScene(rng)


def _simple_scene(rng: Random, fonts: Fonts) -> Scene:
    """One of which several fit into a conversation."""
    chance = rng.random()
    if chance < 0.45:
        return ShapesScene(rng, count=1)
    if chance < 0.62:
        return TextScene(rng, "number", fonts)
    if chance < 0.76:
        return TextScene(rng, "word", fonts)
    return SolidScene(rng)


def _draw(rng: Random, scene: Scene, width: int, height: int) -> Image.Image:
    """The picture; one in ten with the traces of JPEG."""
    image = scene.render(rng, width, height)
    if rng.random() < 0.1:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(60, 95))
        image = Image.open(file).convert("RGB")
    return image


def _pick_size(rng: Random, max_tokens: int, scene: Scene) -> tuple[int, int]:
    """(width, height) of a picture of at most *max_tokens* image tokens."""
    for _ in range(30):
        if isinstance(scene, ScorecardScene):
            width, height = _pick_scorecard_size(rng, scene)
        else:
            width, height = _pick_free_size(rng, scene.kind)
        is_narrow = min(width, height) < 32 or max(width, height) / min(width, height) > 3.2
        if scene.kind != "solid" and is_narrow:
            continue
        if num_image_tokens(height, width) <= max_tokens:
            if rng.random() < 0.55 and min(width, height) >= 56:
                # As it will be after resizing: the model then sees what was drawn.
                height, width = smart_resize(height, width)
            return width, height
    return 196, 196


def _pick_scorecard_size(rng: Random, card: ScorecardScene) -> tuple[int, int]:
    width, height = card.pick_size(rng)
    if rng.random() < 0.12:
        factor = rng.uniform(1.3, 2.2)
        return int(width * factor), int(height * factor)
    return width, height


def _pick_free_size(rng: Random, kind: str) -> tuple[int, int]:
    chance = rng.random()
    if chance < 0.35:
        width = height = rng.choice(SQUARE_SIDES)
    elif chance < 0.9:
        width, height = rng.randint(96, 380), rng.randint(96, 380)
    elif chance < 0.95:
        width, height = rng.randint(32, 120), rng.randint(32, 120)
    else:
        width, height = rng.randint(380, 640), rng.randint(320, 640)
    if kind == "word" and rng.random() < 0.5:
        height = min(height, int(width * rng.uniform(0.35, 0.8)))
    if kind == "solid" and rng.random() < 0.3:
        width = height = rng.choice(SOLID_SIDES)
    return width, height
