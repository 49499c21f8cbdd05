"""Which formats are decoded: an allow-list, recognised by the first bytes. Opens only headers.

Each opens through its own class: `Image.open` would import and try whatever Pillow knows.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.Image import Image

from transports.errors import InvalidImage, UnsupportedMediaType

ACCEPTED = "PNG, JPEG, WebP, GIF, BMP, HEIC or PDF"
# Of ISO/IEC 23008-12: the brands of single pictures.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
# Readers take a PDF with other bytes before its header (ISO 32000-1, implementation note 13).
MAX_PDF_OFFSET = 1024
# First bytes, in lower case -> what we call it when we refuse it.
KNOWN = {
    b"ii*\0": "TIFF",
    b"mm\0*": "TIFF",
    b"8bps": "PSD",
    b"<svg": "SVG",
    b"<?xm": "XML",
    b"<!do": "HTML",
    b"<htm": "HTML",
    b"pk\x03\x04": "a ZIP archive or an Office document",
}


def format_of(data: bytes) -> str:
    """The name of the format: "PNG", "PDF"...

    Raises:
        UnsupportedMediaType: None that we decode.
        InvalidImage: There is nothing in it.
    """
    if not data:
        raise InvalidImage(f"expected {ACCEPTED}, got no bytes at all")
    start = data[:16]
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WebP"
    if start.startswith(b"BM"):
        return "BMP"
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS:
        return "HEIC"
    if data.find(b"%PDF-", 0, MAX_PDF_OFFSET) >= 0:
        return "PDF"
    found = KNOWN.get(start.lstrip()[:4].lower(), "something else")
    raise UnsupportedMediaType(f"expected {ACCEPTED}, got {found}")


def open_picture(data: bytes, format_name: str) -> Image:
    """Read the header of a picture of that format.

    Raises:
        UnsupportedMediaType: Its library is not installed.
    """
    return _OPENERS[format_name](io.BytesIO(data))


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


_OPENERS: dict[str, Callable[[io.BytesIO], Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "HEIC": _open_heif,
}
