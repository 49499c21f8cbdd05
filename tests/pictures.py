"""Pictures about which demo/tiny-vl answers right, and how they are written into files.

Drawn like those that it was trained on. Questions that it knows are in workers/vision/tiny_vl/README.md.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont

Shape: TypeAlias = Literal["circle", "square", "triangle"]
# Label, value, status; the status is "red", "amber" or "green".
Row: TypeAlias = tuple[str, str, str]

RGB = {
    "red": (220, 20, 60),
    "green": (34, 139, 34),
    "blue": (30, 80, 220),
    "yellow": (255, 235, 0),
    "orange": (255, 140, 0),
    "purple": (128, 0, 128),
    "black": (15, 15, 15),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
}
STATUS_RGB = {"red": (220, 38, 38), "amber": (255, 191, 0), "green": (22, 163, 74)}
# What Pillow does to a picture to undo each EXIF orientation, done the other way round.
EXIF_ORIENTATION = 0x0112
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def plain(color: str, size: tuple[int, int] = (224, 224)) -> Image.Image:
    """Nothing but a colour: "What color is this?"."""
    return Image.new("RGB", size, RGB[color])


def shapes(
    *items: tuple[str, Shape], size: tuple[int, int] | None = None, background: str = "white"
) -> Image.Image:
    """Coloured shapes side by side: "What color is the circle?", "How many shapes are there?"."""
    width, height = size or (max(112 * len(items), 168), 168)
    image = Image.new("RGB", (width, height), RGB[background])
    draw = ImageDraw.Draw(image)
    cell = width / max(len(items), 1)
    for index, (color, shape) in enumerate(items):
        _draw_shape(draw, shape, ((index + 0.5) * cell, height / 2), 0.66 * min(cell, height), RGB[color])
    return image


def text(content: str, color: str = "black", background: str = "white") -> Image.Image:
    """A number or a word: "What number is written?", "What word is written?"."""
    image = Image.new("RGB", (280, 140), RGB[background])
    font = ImageFont.load_default(64)
    ImageDraw.Draw(image).text((140, 70), content, font=font, fill=RGB[color], anchor="mm")
    return image


def scorecard(*rows: Row, width: int = 280) -> Image.Image:
    """Rows of label, value and a dot in the colour of the status: "Which row is red?".

    Labels that the model knows are in workers/vision/tiny_vl/training/words.py.
    """
    row_height = 40
    image = Image.new("RGB", (width, row_height * len(rows) + 16), (248, 248, 248))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(24)
    for index, (label, value, status) in enumerate(rows):
        middle = 8 + (index + 0.5) * row_height
        draw.text((16, middle), label, font=font, fill=(25, 25, 25), anchor="lm")
        draw.text((width - 48, middle), value, font=font, fill=(25, 25, 25), anchor="rm")
        draw.ellipse((width - 36, middle - 10, width - 16, middle + 10), fill=STATUS_RGB[status])
    return image


def png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    return encoded(image, "PNG")


def jpeg(image: Image.Image, orientation: int = 1) -> bytes:
    """The picture as a JPEG file that a camera held that way would write: EXIF says how to turn it back."""
    stored = STORED_AS[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return encoded(image if stored is None else image.transpose(stored), "JPEG", exif=exif, quality=92)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """The picture as a file in any format of Pillow's, with options of its writer."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def pdf(pages: Sequence[Image.Image]) -> bytes:
    """A PDF file with a picture on each page."""
    first, *others = pages
    return encoded(first, "PDF", save_all=True, append_images=others)


def data_url(content: bytes, media_type: str = "image/png") -> str:
    """The file inside a URL."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _draw_shape(
    draw: ImageDraw.ImageDraw,
    shape: Shape,
    center: tuple[float, float],
    size: float,
    color: tuple[int, int, int],
) -> None:
    x, y = center
    half = size / 2
    box = (x - half, y - half, x + half, y + half)
    match shape:
        case "circle":
            draw.ellipse(box, fill=color)
        case "square":
            draw.rectangle(box, fill=color)
        case "triangle":
            draw.polygon(
                [(x, y - half), (x + half, y + half * 0.85), (x - half, y + half * 0.85)], fill=color
            )
