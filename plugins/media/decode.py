"""Encoded bytes to RGB pictures, within limits that are checked before anything is decoded.

Runs in a decode process only: a library that crashes here takes nothing else with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from PIL import Image

from plugins.media import documents
from plugins.media.decode_task import Task
from plugins.media.formats import format_of, open_picture
from plugins.media.rgb import to_rgb
from plugins.media.truncation import is_truncated
from transports.errors import InvalidImage, RequestError
from transports.messages import MAX_IMAGE_SIDE

# libjpeg halves a picture for next to nothing, as long as so many times the wanted size is left.
JPEG_GAP = 1.5


class Page(NamedTuple):
    """A decoded picture, or a page of a document."""

    picture: Image.Image
    # Of the source.
    num_pixels: int


def decode(data: bytes, task: Task, on_page: Callable[[], None]) -> Iterator[Page]:
    """Decode a picture, or the pages of a document.

    Args:
        data: A whole file.
        task: Limits, size, pages.
        on_page: Called before each, to start its time.

    Raises:
        RequestError: It cannot be used, in words for the caller.
    """
    format_name = format_of(data)
    if task.pages and format_name != "PDF":
        raise InvalidImage(f"pages: only a PDF has pages, this is {format_name}")
    on_page()
    with _damage_is_an_error(format_name):
        if is_truncated(data, format_name):
            raise InvalidImage(f"expected a whole {format_name} file, got one that is cut short")
        if format_name == "PDF":
            for page in documents.render(data, task.pages, task.max_pages, task.side, on_page):
                yield Page(to_rgb(page, task.side), page.width * page.height)
        else:
            yield _decode_picture(data, format_name, task)


def _decode_picture(data: bytes, format_name: str, task: Task) -> Page:
    picture = open_picture(data, format_name)
    _check_size(picture.size, task.max_pixels)
    num_pixels = picture.width * picture.height
    if format_name == "JPEG":
        factor = min(1.0, JPEG_GAP * task.side / max(picture.size))
        picture.draft(None, (round(picture.width * factor) or 1, round(picture.height * factor) or 1))
    picture.load()
    # The first frame of a GIF may be larger than its header says.
    _check_size(picture.size, task.max_pixels)
    return Page(to_rgb(picture, task.side), num_pixels)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if min(size) < 1 or max(size) > MAX_IMAGE_SIDE:
        raise InvalidImage(f"expected sides of 1 to {MAX_IMAGE_SIDE} pixels, got {width} x {height}")
    if width * height > max_pixels:
        raise InvalidImage(
            f"expected at most {max_pixels} pixels (media.max_image_pixels), got {width} x {height}"
        )


@contextmanager
def _damage_is_an_error(format_name: str) -> Iterator[None]:
    """Damaged data makes libraries raise nearly anything: OSError, SyntaxError, ValueError, struct.error."""
    try:
        yield
    except (RequestError, MemoryError):
        raise
    except Exception:  # noqa: BLE001
        # Their words name objects and files.
        raise InvalidImage(f"expected a whole {format_name} file, got one that is damaged") from None
