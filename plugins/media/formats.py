"""Which formats are decoded: an allow-list, recognised by the first bytes. Opens only headers.

Each opens through its own class: `Image.open` would import and know all of Pillow's formats.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.Image import Image

from transports.errors import InvalidImage, UnsupportedMediaType

ACCEPTED = "PNG, JPEG, WebP, GIF, BMP, HEIC or PDF"
# Of ISO/IEC 23008-12: the brands of single pictures.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
# Readers take a PDF with other bytes before its header (ISO 32000-1, implementation note 13).
MAX_PDF_OFFSET = 1024
PDF_HEADER = b"%PDF-"


class Format(NamedTuple):
    """A picture format."""

    name: str
    open: Callable[[io.BytesIO], Image]


def is_pdf(data: bytes) -> bool:
    """Whether *data* is a PDF document."""
    return data.find(PDF_HEADER, 0, MAX_PDF_OFFSET) >= 0


def format_of(data: bytes) -> Format:
    """The format of a picture.

    Raises:
        UnsupportedMediaType: None that we decode.
        InvalidImage: There is nothing in it.
    """
    if not data:
        raise InvalidImage(f"expected {ACCEPTED}, got no bytes at all")
    start = data[:16]
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format("PNG", PngImagePlugin.PngImageFile)
    if start.startswith(b"\xff\xd8\xff"):
        return Format("JPEG", JpegImagePlugin.JpegImageFile)
    if start.startswith((b"GIF87a", b"GIF89a")):
        return Format("GIF", GifImagePlugin.GifImageFile)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return Format("WebP", WebPImagePlugin.WebPImageFile)
    if start.startswith(b"BM"):
        return Format("BMP", BmpImagePlugin.BmpImageFile)
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS:
        return Format("HEIC", _open_heif)
    raise UnsupportedMediaType(f"expected {ACCEPTED}, got {_looks_like(start)}")


def _open_heif(file: io.BytesIO) -> Image:
    try:
        from pillow_heif import HeifImageFile, options  # noqa: PLC0415  # An extra.
    except ImportError:
        raise UnsupportedMediaType(
            "expected another format, got HEIC, which takes `pip install 'mlxd[heic]'`; or send JPEG or PNG"
        ) from None
    # Threads would each reserve address space, of which there is a limit here.
    options.DECODE_THREADS = 1
    picture: Image = HeifImageFile(file)  # type: ignore[no-untyped-call]  # It has no types.
    return picture


def _looks_like(start: bytes) -> str:
    known = {
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
        b"8BPS": "PSD",
        b"<svg": "SVG",
        b"<?xm": "XML or SVG",
        b"<!do": "HTML",
        b"<htm": "HTML",
        b"PK\x03\x04": "a ZIP archive or an Office document",
    }
    if start[4:12] == b"ftypavif":
        return "AVIF"
    return known.get(start.lstrip()[:4].lower(), known.get(start[:4], "something else"))
