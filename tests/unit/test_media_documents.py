"""PDF documents become pictures of their pages, or an error that says what is wrong with them."""

from __future__ import annotations

import pytest
from pdf_files import EMPTY_PAGE, pdf_of
from pictures import png
from PIL import Image

from plugins.media.decode import decode
from plugins.media.decode_task import Task
from plugins.media.documents import chosen
from transports.errors import InvalidImage

RED_SQUARE = b"1 0 0 rg 0 0 100 100 re f"


def a_task(side: int = 200, pages: str = "", max_pages: int = 16) -> Task:
    return Task(
        num_bytes=0,
        side=side,
        max_pixels=50_000_000,
        pages=pages,
        max_pages=max_pages,
        cpu_s=5,
        folder="",
        names=(),
        shared_from_bytes=0,
        max_shared_bytes=0,
    )


def drawn(data: bytes, **fields: object) -> list[Image.Image]:
    task = a_task(**fields)  # type: ignore[arg-type]
    return [page.picture for page in decode(data, task, lambda: None)]


def refusal(data: bytes, **fields: object) -> str:
    with pytest.raises(InvalidImage) as caught:
        drawn(data, **fields)
    return caught.value.message


def test_a_page_is_drawn_upright_on_white() -> None:
    """PDF counts from below."""
    (page,) = drawn(pdf_of([RED_SQUARE], size=(200, 400)))

    assert page.size == (100, 200)
    assert (page.mode, page.getpixel((25, 180)), page.getpixel((25, 20))) == (
        "RGB",
        (255, 0, 0),
        (255, 255, 255),
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((612, 792), (155, 200)),
        ((595.276, 841.89), (142, 200)),
        ((20, 10), (200, 100)),
        ((14_400, 14_400), (200, 200)),
        ((100_000, 1), (200, 1)),
        ((1, 100_000), (1, 200)),
    ],
)
def test_the_larger_side_of_a_page_is_the_limit(size: tuple[float, float], expected: tuple[int, int]) -> None:
    (page,) = drawn(pdf_of([EMPTY_PAGE], size=size))

    assert page.size == expected


def test_the_pages_come_in_their_order() -> None:
    document = pdf_of([b"1 0 0 rg 0 0 200 200 re f", b"0 1 0 rg 0 0 200 200 re f", EMPTY_PAGE])

    colors = [page.getpixel((100, 100)) for page in drawn(document)]

    assert colors == [(255, 0, 0), (0, 255, 0), (255, 255, 255)]
    assert [page.getpixel((100, 100)) for page in drawn(document, pages="2-3")] == colors[1:]
    assert [page.getpixel((100, 100)) for page in drawn(document, pages="2")] == colors[1:2]


@pytest.mark.parametrize(
    ("pages", "expected"), [("", [0, 1, 2, 3, 4]), ("1", [0]), ("2-4", [1, 2, 3]), ("5-5", [4])]
)
def test_pages_are_counted_from_one(pages: str, expected: list[int]) -> None:
    assert list(chosen(pages, 5, 5)) == expected


@pytest.mark.parametrize(
    "pages", ["0", "6", "3-2", "4-6", "0-1", "-1", "1-", "a", "1,2", " 1", "1-3 ", "9" * 50, "²"]
)
def test_pages_that_are_not_there_are_refused(pages: str) -> None:
    with pytest.raises(InvalidImage, match="pages: expected"):
        chosen(pages, 5, 5)


def test_too_many_pages_name_both_numbers_and_what_would_do() -> None:
    document = pdf_of([EMPTY_PAGE] * 4)

    assert len(drawn(document, pages="2-4", max_pages=3)) == 3
    message = refusal(document, max_pages=3)
    assert "at most 3 pages" in message
    assert "got 4" in message
    assert "1-3" in message


def test_a_document_without_pages_is_refused() -> None:
    assert "damaged" in refusal(pdf_of([]))
    with pytest.raises(InvalidImage, match="without"):
        chosen("", 0, 5)


def test_an_encrypted_document_is_refused_by_name() -> None:
    assert "encrypted" in refusal(pdf_of([EMPTY_PAGE], encrypted=True))


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7\n%%EOF",
        b"%PDF-1.7\n" + bytes(1000) + b"\n%%EOF",
        b"%PDF-1.7\nstartxref\n99999999999999\n%%EOF",
        pdf_of([EMPTY_PAGE]).replace(b"/Pages", b"/Sages"),
        pdf_of([EMPTY_PAGE]).replace(b"/MediaBox", b"/Nothing"),
    ],
    ids=["empty", "zeros", "far", "no tree", "no size"],
)
def test_a_damaged_document_is_refused_or_drawn(data: bytes) -> None:
    """pdfium mends what it can; a page without a size is a letter."""
    try:
        assert drawn(data)
    except InvalidImage as e:
        assert "PDF" in e.message


def test_a_picture_has_no_pages() -> None:
    assert "only a PDF has pages" in refusal(png(Image.new("RGB", (2, 2))), pages="1")
