"""The fonts of the pictures: a folder of files, and the one that is in Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from PIL import ImageFont

# What Pillow gives for a file, and for the font that it brings.
Font: TypeAlias = ImageFont.FreeTypeFont

# Never seen in training; the evaluation can ask for them.
HELD_OUT = ("LiberationSerif-Bold.ttf", "OpenSans-Semibold.ttf")
DEFAULT = "default"
MAX_CACHED = 4000


class Fonts:
    """The fonts to draw from.

    Args:
        folder: Its .ttf and .otf files are used; None: only Pillow's own font.
        held_out: Draw only from `HELD_OUT`.
    """

    def __init__(self, folder: Path | None = None, *, held_out: bool = False) -> None:
        self._folder = folder
        files = () if folder is None else folder.iterdir()
        found = sorted(path.name for path in files if path.suffix in {".ttf", ".otf"})
        if held_out:
            self.names = [name for name in found if name in HELD_OUT]
        else:
            # Pillow's own counts twice.
            self.names = [name for name in found if name not in HELD_OUT] + [DEFAULT, DEFAULT]
        if not self.names:
            raise ValueError(f"{folder}: expected one of the fonts {', '.join(HELD_OUT)}, found none")
        self._cache: dict[tuple[str, int], Font] = {}

    def get(self, name: str, size: float) -> Font:
        """The font *name* at about *size* pixels."""
        pixels = max(8, int(size))
        if pixels > 40:
            # Fewer sizes, more hits in the cache.
            pixels = pixels // 4 * 4
        font = self._cache.get((name, pixels))
        if font is None:
            if len(self._cache) > MAX_CACHED:
                self._cache.clear()
            font = self._cache[name, pixels] = self._load(name, pixels)
        return font

    def _load(self, name: str, pixels: int) -> Font:
        if self._folder is not None and name != DEFAULT:
            return ImageFont.truetype(self._folder / name, pixels)
        font = ImageFont.load_default(pixels)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise ValueError("Pillow: expected a build with FreeType")
        return font
