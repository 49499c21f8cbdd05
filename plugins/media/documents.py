"""PDF documents as pictures of their pages. Runs in a decode process only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from transports.errors import InvalidImage

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

PAGES = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
# FPDF_ERR_PASSWORD in fpdfview.h.
PASSWORD_NEEDED = 4


def render(
    data: bytes, pages: str, max_pages: int, side: int, on_page: Callable[[], None]
) -> Iterator[Image.Image]:
    """Draw pages, each with *side* as its larger side.

    Args:
        data: A whole document.
        pages: "2", "1-3"; "" is all.
        max_pages: Of those asked for.
        side: Pixels.
        on_page: Called before each page.

    Raises:
        InvalidImage: It needs a password, or has not these pages.
        PdfiumError: It is damaged.
    """
    with _open(data) as document:
        for index in chosen(pages, len(document), max_pages):
            on_page()
            yield _draw(document, index, side)


def chosen(pages: str, num_pages: int, max_pages: int) -> Sequence[int]:
    """Indices of the pages that *pages* asks for.

    Raises:
        InvalidImage: There are none, too many, or not these.
    """
    if num_pages < 1:
        raise InvalidImage("expected a PDF document with pages, got one without")
    match = PAGES.fullmatch(pages or f"1-{num_pages}")
    if match is None:
        raise InvalidImage(f'pages: expected a page or a range, such as "2" or "1-3", got {pages[:20]!r}')
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= num_pages:
        raise InvalidImage(f"pages: expected some of 1-{num_pages}, got {pages!r}")
    if last - first >= max_pages:
        raise InvalidImage(
            f"expected at most {max_pages} pages (media.max_pdf_pages, media.max_images), "
            f"got {last - first + 1}; choose some, such as {first}-{first + max_pages - 1}"
        )
    return range(first - 1, last)


def _open(data: bytes) -> PdfDocument:
    # 0.1 s that only documents cost.
    from pypdfium2 import PdfDocument, PdfiumError  # noqa: PLC0415

    try:
        document = PdfDocument(data)
    except PdfiumError as e:
        if e.err_code == PASSWORD_NEEDED:
            raise InvalidImage("expected a PDF document without a password, got an encrypted one") from None
        raise
    # Without it what was filled into forms is not drawn.
    document.init_forms()
    return document


def _draw(document: PdfDocument, index: int, side: int) -> Image.Image:
    page = document[index]
    try:
        # A bitmap is rounded up: never one pixel more than asked for.
        scale = (side - 0.5) / max(*page.get_size(), 1)
        picture: Image.Image = page.render(scale=scale, rev_byteorder=True).to_pil()
        return picture
    finally:
        page.close()
