"""Draws a scorecard: dark or light, with or without title, the status shown in one of seven ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from PIL import Image, ImageDraw

from workers.vision.tiny_vl.training.colors import RGB, STATUS, WHITE, contrasting, jittered
from workers.vision.tiny_vl.training.fonts import Font

# How the status is shown -> the width that this takes, in font sizes.
STYLES = {"dot_r": 1.4, "dot_l": 1.4, "pill": 2.4, "rowbg": 0.3, "text": 0.3, "bar": 0.6, "cell": 0.6}
# Those that put nothing to the right of the value.
VALUE_LAST = ("rowbg", "text", "bar", "dot_l", "cell")

FontOfSize = Callable[[float], Font]


class ScorecardDrawing:
    """One drawing; all that is left to chance is drawn in the constructor, in a fixed order."""

    def __init__(
        self,
        rng: Random,
        size: tuple[int, int],
        *,
        rows: Sequence[tuple[str, str, str]],
        title: str | None,
        font: FontOfSize,
        title_font: FontOfSize,
    ) -> None:
        self._width, height = size
        background, self._ink = _pick_colors(rng)
        self._image = Image.new("RGB", size, background)
        self._draw = ImageDraw.Draw(self._image)
        lines = len(rows) + (1 if title else 0)
        self._pad = min(size) * rng.uniform(0.01, 0.06)
        self._row_height = (height - 2 * self._pad) / lines
        self._style = rng.choice(list(STYLES))
        has_lines = rng.random() < 0.5
        wanted = self._row_height * rng.uniform(0.5, 0.72)
        labels, values = ([row[i] for row in rows] for i in (0, 1))
        sample = font(40)
        # In font sizes.
        self._label_width = max(sample.getlength(label) for label in labels) / 40
        value_width = max(sample.getlength(value) for value in values) / 40
        self._colon = ":" if rng.random() < 0.35 else ""
        needed = self._label_width + value_width + STYLES[self._style] + 1.0
        self._font = font(min(wanted, (self._width - 2 * self._pad) / needed))
        self._em = self._font.size
        top = self._pad
        if title:
            top = self._draw_title(title, title_font(self._em * 1.05))
        self._is_inline = rng.random() < 0.3 and self._style != "cell"
        for label, value, status in rows:
            color = jittered(rng, rng.choice(STATUS[status]), 6)
            self._draw_row(top, label, value, color)
            top += self._row_height
            if has_lines:
                self._draw.line([(self._pad, top), (self._width - self._pad, top)], fill=(128, 128, 128))

    def finish(self) -> Image.Image:
        """The picture."""
        return self._image

    def _draw_title(self, title: str, font: Font) -> float:
        place = (self._pad + self._em * 0.3, self._pad + self._row_height / 2)
        self._draw.text(place, title, font=font, fill=self._ink, anchor="lm")
        below = self._pad + self._row_height
        self._draw.line([(self._pad, below - 1), (self._width - self._pad, below - 1)], fill=self._ink)
        return below

    def _draw_row(self, top: float, label: str, value: str, color: RGB) -> None:
        middle = top + self._row_height / 2
        ink = contrasting(color, 125) if self._style == "rowbg" else self._ink
        left = self._draw_mark_left(top, color)
        self._draw.text((left, middle), label + self._colon, font=self._font, fill=ink, anchor="lm")
        value_end = self._value_end()
        value_ink = ink
        if self._style == "text":
            value_ink = color
        elif self._style == "cell":
            start = value_end - self._draw.textlength(value, font=self._font) - self._em * 0.35
            self._fill(start, top + 2, self._width - self._pad, top + self._row_height - 2, color)
            value_ink = contrasting(color, 125)
        if self._is_inline:
            place, anchor = left + self._label_width * self._em + self._em * 0.7, "lm"
        else:
            place, anchor = value_end, "rm"
        self._draw.text((place, middle), value, font=self._font, fill=value_ink, anchor=anchor)
        self._draw_mark_right(top, color)

    def _draw_mark_left(self, top: float, color: RGB) -> float:
        """What shows the status before or below the label; where the label begins."""
        left = self._pad + self._em * 0.3
        middle = top + self._row_height / 2
        match self._style:
            case "rowbg":
                bottom = top + self._row_height - 1
                self._fill(self._pad, top + 1, self._width - self._pad, bottom, color)
            case "dot_l":
                radius = self._em * 0.42
                self._draw.ellipse([left, middle - radius, left + 2 * radius, middle + radius], fill=color)
                return left + 2 * radius + self._em * 0.4
            case "bar":
                bottom = top + self._row_height - 2
                self._fill(self._pad, top + 2, self._pad + self._em * 0.35, bottom, color)
                return left + self._em * 0.4
        return left

    def _draw_mark_right(self, top: float, color: RGB) -> None:
        right = self._width - self._pad
        height = self._row_height
        if self._style == "dot_r":
            radius = self._em * 0.42
            x, y = right - self._em * 0.7, top + height / 2
            self._draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)
        elif self._style == "pill":
            box = [right - self._em * 2.2, top + height * 0.22, right - self._em * 0.2, top + height * 0.78]
            self._draw.rounded_rectangle(box, radius=max(1, int(height * 0.2)), fill=color)

    def _value_end(self) -> float:
        free = 0.3 if self._style in VALUE_LAST else STYLES[self._style] + 0.2
        return self._width - self._pad - self._em * free

    def _fill(self, left: float, top: float, right: float, bottom: float, color: RGB) -> None:
        self._draw.rectangle([left, top, right, bottom], fill=color)


def _pick_colors(rng: Random) -> tuple[RGB, RGB]:
    """Background and ink."""
    if rng.random() < 0.2:
        return jittered(rng, (28, 30, 36), 12), jittered(rng, (235, 235, 235), 12)
    background = jittered(rng, (248, 248, 248), 7) if rng.random() < 0.8 else WHITE
    return background, jittered(rng, (25, 25, 25), 20)
