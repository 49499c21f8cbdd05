"""From a picture to the patches of Qwen2.5-VL, as mlx-vlm's image processor does it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

PATCH = 14
# One image token is 2x2 patches.
FACTOR = 2 * PATCH
MIN_PIXELS = 4 * 4 * FACTOR**2
MAX_PIXELS = 12 * 12 * FACTOR**2
PATCH_VALUES = 3 * PATCH**2


def smart_resize(height: int, width: int) -> tuple[int, int]:
    """(height, width) after resizing: multiples of FACTOR, [MIN_PIXELS, MAX_PIXELS], about the same ratio."""
    rows, columns = round(height / FACTOR), round(width / FACTOR)
    area = rows * columns * FACTOR**2
    if area > MAX_PIXELS:
        shrink = math.sqrt(height * width / MAX_PIXELS)
        rows = max(1, math.floor(height / shrink / FACTOR))
        columns = max(1, math.floor(width / shrink / FACTOR))
    elif area < MIN_PIXELS:
        grow = math.sqrt(MIN_PIXELS / (height * width))
        rows, columns = math.ceil(height * grow / FACTOR), math.ceil(width * grow / FACTOR)
    return rows * FACTOR, columns * FACTOR


def num_image_tokens(height: int, width: int) -> int:
    """Image tokens of a picture of this size."""
    height, width = smart_resize(height, width)
    return height * width // FACTOR**2


def patchify(image: Image.Image) -> tuple[np.ndarray, int, int]:
    """Patches of an RGB picture in the model's order: image token by image token.

    Returns:
        uint8 array of shape (num_patches, 588), without the second temporal copy; rows; columns of patches.
    """
    height, width = smart_resize(image.height, image.width)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    rows, columns = height // PATCH, width // PATCH
    pixels = np.asarray(image).reshape(rows // 2, 2, PATCH, columns // 2, 2, PATCH, 3)
    patches = pixels.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns, PATCH_VALUES)
    return patches, rows, columns
