"""Whether a picture file ends before its format says that it does.

Pillow takes a file whose last bytes are missing when all pixels are there; a client that sends one has lost
something on the way, and is told.
"""

from __future__ import annotations

# Type and CRC of the chunk that ends a PNG.
PNG_END = b"IEND\xae\x42\x60\x82"
JPEG_SCAN = 0xDA
JPEG_END = b"\xff\xd9"
# ITU T.81, B.1.1.3: markers without a length.
JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))


def is_cut_short(data: bytes, format_name: str) -> bool:
    """Whether the end of the file is missing. Bytes after the end are none of our business."""
    if format_name == "PNG":
        return data.rfind(PNG_END) < 0
    if format_name == "JPEG":
        # Never inside a scan, where 0xff is followed by 0; a thumbnail before the scan has one of its own.
        return data.find(JPEG_END, _first_scan(data)) < 0
    # The others tell their length, which Pillow compares, or are not read to their end.
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
