"""PDF documents written by hand: vector pages, and what no writer makes."""

from __future__ import annotations

from collections.abc import Sequence

EMPTY_PAGE = b""


def pdf_of(
    pages: Sequence[bytes],
    *,
    size: tuple[float, float] = (200, 200),
    filters: bytes = b"",
    encrypted: bool = False,
) -> bytes:
    """A document.

    Args:
        pages: The drawing commands of each.
        size: Of each, in points.
        filters: How the commands are packed: b"/FlateDecode".
        encrypted: With a password that nobody knows.
    """
    numbers = [3 + 2 * index for index in range(len(pages))]
    kids = b" ".join(b"%d 0 R" % number for number in numbers)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
    ]
    for number, commands in zip(numbers, pages, strict=True):
        box = b"%g %g" % size
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %s] /Contents %d 0 R >>" % (box, number + 1)
        )
        how = b" /Filter %s" % filters if filters else b""
        objects.append(b"<< /Length %d%s >>\nstream\n%s\nendstream" % (len(commands), how, commands))
    trailer = b"/Root 1 0 R /Size %d" % (len(objects) + 1)
    if encrypted:
        key = b"<%s>" % (b"5a" * 32)
        trailer += b" /ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /O %s /U %s /P -4 >>" % (
            key,
            key,
        )
    return _written(objects, trailer)


def _written(objects: Sequence[bytes], trailer: bytes) -> bytes:
    data = b"%PDF-1.4\n"
    offsets = []
    for number, text in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, text)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(data)
    return data + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        table,
        trailer,
        start,
    )
