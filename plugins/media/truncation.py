"""Whether a file ends before its format says that it does.

Pillow and pdfium take one whose last bytes are missing when the rest is there; a client that sends it has
lost something on the way, and is told.
"""

from __future__ import annotations

# Type and CRC of the chunk that ends a PNG.
PNG_END = b"IEND\xae\x42\x60\x82"
# The end of a block, and the trailer.
GIF_END = b"\0;"
PDF_END = b"%%EOF"
JPEG_SCAN = 0xDA
JPEG_END = b"\xff\xd9"
# ITU T.81, B.1.1.3: markers without a length.
JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))


def is_truncated(data: bytes, format_name: str) -> bool:
    """Whether the end of the file is missing. Bytes after the end are none of our business."""
    match format_name:
        case "PNG":
            return data.rfind(PNG_END) < 0
        case "GIF":
            return data.rfind(GIF_END) < 0
        case "PDF":
            return data.rfind(PDF_END) < 0
        case "JPEG":
            # Never inside a scan, where 0xff is followed by 0; a thumbnail before the scan has its own.
            return data.find(JPEG_END, _first_scan(data)) < 0
        case _:
            # The others tell their length, and are held to it by what reads them.
            return False


def _first_scan(data: bytes) -> int:
    """Where the first scan of a JPEG begins; its end when there is none."""
    position = 2
    while position + 4 <= len(data):
        marker = data[position + 1]
        if marker == JPEG_SCAN:
            return position
        if data[position] != 0xFF or marker in (0xFF, *JPEG_BARE):
            position += 1
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return len(data)
