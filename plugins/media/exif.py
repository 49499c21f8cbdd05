"""The orientation in EXIF data.

Reads nothing else of it: entries of a hostile directory can make a full reader copy gigabytes.
"""

from __future__ import annotations

import struct

UPRIGHT = 1
# EXIF 2.3, 4.6.4: tag, type, count of the entry.
ORIENTATION = 0x0112
SHORT = 3
ENTRY_BYTES = 12


def orientation(exif: bytes) -> int:
    """The orientation as it stands there, 1 to 8 if it makes sense; upright when there is none."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for number in range(num_entries):
            entry = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + number * ENTRY_BYTES)
            if entry[:3] == (ORIENTATION, SHORT, 1):
                return int(entry[3])
    except struct.error:  # It points beyond its end.
        pass
    return UPRIGHT
