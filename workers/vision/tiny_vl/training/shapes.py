"""Pictures of one to six coloured shapes."""

from __future__ import annotations

import json
import math
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from workers.vision.tiny_vl.training.colors import (
    BLACK,
    RGB,
    SHAPE_COLORS,
    STATUS,
    WHITE,
    luminance,
    pick_background,
    pick_foreground,
)
from workers.vision.tiny_vl.training.questions import Turn, article, ask, enumeration, sentence, yes_or_no
from workers.vision.tiny_vl.training.scene import Canvas, Description, caption
from workers.vision.tiny_vl.training.words import SHAPES

# Number of shapes -> (rows, columns) that they may stand in.
GRIDS = {
    1: [(1, 1)],
    2: [(1, 2), (2, 1)],
    3: [(1, 3), (3, 1), (2, 2)],
    4: [(2, 2), (2, 2), (1, 4)],
    5: [(2, 3), (3, 2)],
    6: [(2, 3), (3, 2)],
}
REGIONS = [
    ["top left", "top", "top right"],
    ["left", "center", "right"],
    ["bottom left", "bottom", "bottom right"],
]


class Item(NamedTuple):
    """One shape."""

    shape: str
    color: str
    rgb: RGB


def draw_shape(
    draw: ImageDraw.ImageDraw,
    rng: Random,
    shape: str,
    center: tuple[float, float],
    size: float,
    rgb: RGB,
    *,
    outline: RGB | None = None,
    outline_width: int = 1,
) -> None:
    """Draw *shape*, squares and triangles now and then turned a little."""
    cx, cy = center
    half = size / 2
    if shape == "circle":
        box = (cx - half, cy - half, cx + half, cy + half)
        draw.ellipse(box, fill=rgb, outline=outline, width=outline_width)
        return
    if shape == "square":
        half *= 0.9
        points = [(-half, -half), (half, -half), (half, half), (-half, half)]
        angle = rng.uniform(-0.2, 0.2) if rng.random() < 0.2 else 0.0
    else:
        side = half * rng.uniform(0.85, 1.0)
        points = [(0, -half), (side, half * 0.85), (-side, half * 0.85)]
        angle = rng.uniform(-0.35, 0.35) if rng.random() < 0.2 else (math.pi if rng.random() < 0.08 else 0.0)
    if angle:
        cos, sin = math.cos(angle), math.sin(angle)
        points = [(x * cos - y * sin, x * sin + y * cos) for x, y in points]
    points = [(cx + x, cy + y) for x, y in points]
    if not angle and shape == "square":
        draw.rectangle([points[0], points[2]], fill=rgb, outline=outline, width=outline_width)
    else:
        draw.polygon(points, fill=rgb, outline=outline, width=outline_width)


class ShapesScene:
    """Some shapes; where they stand is known after `render`."""

    kind = "shapes"

    def __init__(self, rng: Random, count: int | None = None) -> None:
        self.count = count or rng.choices([1, 2, 3, 4, 5, 6], [34, 26, 18, 10, 6, 6])[0]
        self.background_name, self.background = pick_background(rng)
        self.items: list[Item] = []
        for _ in range(self.count):
            color, rgb = pick_foreground(rng, self.background_name, self.background)
            self.items.append(Item(rng.choice(SHAPES), color, rgb))
        # Of a single shape.
        self.region = ""
        # (rows, columns) of several.
        self.grid: tuple[int, int] | None = None

    def render(self, rng: Random, width: int, height: int) -> Image.Image:
        canvas = Canvas(rng, width, height, self.background)
        outline = None
        if rng.random() < 0.12:
            outline = BLACK if luminance(self.background) > 100 else WHITE
        if self.count == 1:
            self._draw_one(canvas, rng, (width, height), outline)
        else:
            self._draw_many(canvas, rng, (width, height), outline)
        return canvas.finish()

    def phrase(self) -> str:
        return enumeration([article(f"{item.color} {item.shape}") for item in self.items])

    def as_json(self) -> Description:
        return {
            "kind": "shapes",
            "shapes": [{"color": item.color, "shape": item.shape} for item in self.items],
        }

    def turns(self, rng: Random) -> list[Turn]:
        turns = [
            Turn("count", ask(rng, "count"), str(self.count)),
            Turn("describe", ask(rng, "describe"), caption(self)),
            Turn("describe", ask(rng, "describe"), caption(self)),
        ]
        if rng.random() < 0.5:
            turns.append(Turn("json", ask(rng, "json"), json.dumps(self.as_json())))
        turns += self._about_single_ones(rng)
        turns += self._about_counts(rng)
        turns += self._about_presence(rng)
        if self.background_name:
            turns.append(Turn("background", ask(rng, "bg"), self.background_name))
        turns += self._about_sides(rng)
        turns += self._about_what_is_not_there(rng)
        return turns

    def _draw_one(self, canvas: Canvas, rng: Random, size: tuple[int, int], outline: RGB | None) -> None:
        width, height = size
        smaller = min(width, height)
        item = self.items[0]
        if rng.random() < 0.5:
            row, column = 1, 1
            extent = smaller * rng.uniform(0.3, 0.92)
            cx = width / 2 + rng.uniform(-0.06, 0.06) * width
            cy = height / 2 + rng.uniform(-0.06, 0.06) * height
        else:
            row, column = rng.randint(0, 2), rng.randint(0, 2)
            cx = width * ((column + 0.5) / 3 + rng.uniform(-0.07, 0.07))
            cy = height * ((row + 0.5) / 3 + rng.uniform(-0.07, 0.07))
            room = 2 * min(cx, width - cx, cy, height - cy) * 0.96
            extent = min(room, smaller * rng.uniform(0.22, 0.7))
        extent = max(extent, 18)
        self.region = REGIONS[row][column]
        k = canvas.scale
        draw_shape(
            canvas.draw,
            rng,
            item.shape,
            (cx * k, cy * k),
            extent * k,
            item.rgb,
            outline=outline,
            outline_width=rng.randint(1, 3) * k,
        )

    def _draw_many(self, canvas: Canvas, rng: Random, size: tuple[int, int], outline: RGB | None) -> None:
        width, height = size
        self.grid = rows, columns = self._pick_grid(rng, width, height)
        cells = [(row, column) for row in range(rows) for column in range(columns)]
        if len(cells) > self.count:
            dropped = rng.sample(range(len(cells)), len(cells) - self.count)
            cells = [cell for index, cell in enumerate(cells) if index not in dropped]
        cell_width, cell_height = width / columns, height / rows
        k = canvas.scale
        for (row, column), item in zip(cells, self.items, strict=True):
            extent = max(min(cell_width, cell_height) * rng.uniform(0.45, 0.88), 16)
            free_x = max(0.0, (cell_width - extent) / 2 * 0.9)
            free_y = max(0.0, (cell_height - extent) / 2 * 0.9)
            cx = (column + 0.5) * cell_width + rng.uniform(-free_x, free_x)
            cy = (row + 0.5) * cell_height + rng.uniform(-free_y, free_y)
            draw_shape(
                canvas.draw,
                rng,
                item.shape,
                (cx * k, cy * k),
                extent * k,
                item.rgb,
                outline=outline,
                outline_width=rng.randint(1, 2) * k,
            )

    def _pick_grid(self, rng: Random, width: int, height: int) -> tuple[int, int]:
        if width >= height * 1.7 and self.count <= 4:
            grid = (1, self.count)
        elif height >= width * 1.7 and self.count <= 4:
            grid = (self.count, 1)
        else:
            grid = rng.choice(GRIDS[self.count])
        return (2, 2) if grid == (1, 4) and width < height * 1.2 else grid

    def _about_single_ones(self, rng: Random) -> list[Turn]:
        shapes = [item.shape for item in self.items]
        colors = [item.color for item in self.items]
        turns = []
        unique = [i for i in range(self.count) if shapes.count(shapes[i]) == 1]
        for i in rng.sample(unique, min(2, len(unique))):
            turns.append(Turn("color", ask(rng, "color_of", x=shapes[i]), colors[i]))
        unique = [i for i in range(self.count) if colors.count(colors[i]) == 1]
        for i in rng.sample(unique, min(2, len(unique))):
            turns.append(Turn("shape", ask(rng, "shape_of", c=colors[i]), shapes[i]))
        if self.count == 1:
            shape, color = shapes[0], colors[0]
            turns += [
                Turn("shape", ask(rng, "what_shape"), shape),
                Turn("color", ask(rng, "what_color"), color),
                Turn("color", ask(rng, "color_of", x=shape), color),
            ]
            name = rng.choice([shape, f"{color} {shape}", "shape"])
            turns.append(Turn("where", ask(rng, "where", x=name), self.region))
        return turns

    def _about_counts(self, rng: Random) -> list[Turn]:
        shapes = [item.shape for item in self.items]
        colors = [item.color for item in self.items]
        shape = rng.choice(SHAPES)
        by_shape = Turn("count", ask(rng, "count_s", x=shape), str(shapes.count(shape)))
        color = rng.choice(colors) if rng.random() < 0.7 else rng.choice(SHAPE_COLORS)
        return [by_shape, Turn("count", ask(rng, "count_c", c=color), str(colors.count(color)))]

    def _about_presence(self, rng: Random) -> list[Turn]:
        shapes = [item.shape for item in self.items]
        colors = [item.color for item in self.items]
        if rng.random() < 0.5:
            shape, color, _ = rng.choice(self.items)
        else:
            shape, color = rng.choice(SHAPES), rng.choice([*colors, rng.choice(SHAPE_COLORS)])
        is_there = any((item.shape, item.color) == (shape, color) for item in self.items)
        by_both = Turn("yesno", ask(rng, "exists", a=article(f"{color} {shape}")), yes_or_no(is_there))
        shape = rng.choice(SHAPES)
        return [by_both, Turn("yesno", ask(rng, "exists", a=article(shape)), yes_or_no(shape in shapes))]

    def _about_sides(self, rng: Random) -> list[Turn]:
        if self.grid == (1, 2):
            index = rng.randint(0, 1)
            place = "on the " + ["left", "right"][index]
        elif self.grid == (2, 1):
            index = rng.randint(0, 1)
            place = "at the " + ["top", "bottom"][index]
        else:
            return []
        shape, color, _ = self.items[index]
        return [
            Turn("spatial", f"What is {place}?", sentence(article(f"{color} {shape}"))),
            Turn("spatial", f"What color is the shape {place}?", color),
            Turn("spatial", f"What shape is {place}?", shape),
        ]

    def _about_what_is_not_there(self, rng: Random) -> list[Turn]:
        shapes = [item.shape for item in self.items]
        turns = []
        missing = [shape for shape in SHAPES if shape not in shapes]
        if missing and rng.random() < 0.4:
            shape = rng.choice(missing)
            turns.append(Turn("absent", ask(rng, "color_of", x=shape), f"There is no {shape}."))
        if rng.random() < 0.15:
            question, answer = rng.choice(
                [
                    (ask(rng, "number"), "There is no number."),
                    (ask(rng, "word"), "There is no text."),
                    (ask(rng, "text"), "There is no text."),
                    (ask(rng, "which_row", s=rng.choice(list(STATUS))), "There is no scorecard."),
                ]
            )
            turns.append(Turn("absent", question, answer))
        return turns
