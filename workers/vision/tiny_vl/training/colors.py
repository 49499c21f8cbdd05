"""Colours with names, and foregrounds that stand out from backgrounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import TypeAlias

RGB: TypeAlias = tuple[int, int, int]

COLORS = {
    "red": [(255, 0, 0), (220, 20, 60), (200, 30, 30), (214, 39, 40), (231, 76, 60)],
    "green": [(0, 128, 0), (0, 255, 0), (34, 139, 34), (44, 160, 44), (0, 180, 60), (46, 204, 113)],
    "blue": [(0, 0, 255), (30, 80, 220), (31, 119, 180), (0, 90, 200), (65, 105, 225), (52, 152, 219)],
    "yellow": [(255, 255, 0), (255, 235, 0), (250, 225, 40), (245, 230, 30)],
    "orange": [(255, 165, 0), (255, 127, 14), (255, 140, 0), (240, 120, 20)],
    "purple": [(128, 0, 128), (148, 103, 189), (150, 50, 200), (155, 89, 182), (102, 51, 153)],
    "black": [(0, 0, 0), (15, 15, 15), (30, 30, 30)],
    "white": [(255, 255, 255), (246, 246, 246), (251, 251, 251)],
    "gray": [(128, 128, 128), (160, 160, 160), (105, 105, 105), (190, 190, 190)],
}
COLOR_NAMES = tuple(COLORS)
SHAPE_COLORS = ("red", "green", "blue", "yellow", "orange", "purple", "black", "white")
# Of the rows of scorecards.
STATUS = {
    "red": [(255, 0, 0), (220, 38, 38), (200, 30, 30), (231, 76, 60), (239, 68, 68)],
    "amber": [(255, 191, 0), (255, 165, 0), (245, 180, 40), (240, 170, 30), (245, 158, 11)],
    "green": [(0, 160, 0), (34, 139, 34), (22, 163, 74), (46, 204, 113), (0, 200, 80)],
}

WHITE: RGB = (255, 255, 255)
BLACK: RGB = (0, 0, 0)


def jittered(rng: Random, color: RGB, most: int = 9) -> RGB:
    """A colour next to *color*, at most *most* away in each channel."""
    red, green, blue = (min(255, max(0, value + rng.randint(-most, most))) for value in color)
    return red, green, blue


def pick_rgb(rng: Random, name: str) -> RGB:
    """One of the colours that are called *name*."""
    return jittered(rng, rng.choice(COLORS[name]))


def luminance(color: RGB) -> float:
    """How bright it looks, [0, 255]."""
    return 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]


def contrasting(color: RGB, threshold: float) -> RGB:
    """White on dark colours, black on others."""
    return WHITE if luminance(color) < threshold else BLACK


def pick_background(rng: Random) -> tuple[str | None, RGB]:
    """A background and its name; None for a pale one that has no name."""
    chance = rng.random()
    if chance < 0.5:
        return "white", pick_rgb(rng, "white")
    if chance < 0.62:
        return "black", pick_rgb(rng, "black")
    if chance < 0.72:
        return "gray", pick_rgb(rng, "gray")
    if chance < 0.9:
        name = rng.choice(COLOR_NAMES)
        return name, pick_rgb(rng, name)
    return None, (rng.randint(205, 245), rng.randint(205, 245), rng.randint(205, 245))


def pick_foreground(
    rng: Random,
    background_name: str | None,
    background: RGB,
    *,
    names: Sequence[str] = SHAPE_COLORS,
    min_distance: float = 95,
    min_luminance: float = 0,
) -> tuple[str, RGB]:
    """A colour that can be told from *background*, and its name."""
    for _ in range(40):
        name = rng.choice(names)
        if name == background_name:
            continue
        color = pick_rgb(rng, name)
        is_far = math.dist(color, background) >= min_distance
        if is_far and abs(luminance(color) - luminance(background)) >= min_luminance:
            return name, color
    name = "black" if luminance(background) > 128 else "white"
    return name, pick_rgb(rng, name)
