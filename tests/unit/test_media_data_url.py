"""data: URLs: what is taken, what is refused, and that nothing large is decoded first."""

from __future__ import annotations

import base64

import pybase64
import pytest

from plugins.media.data_url import UncopiedUrl, from_data_url
from transports.errors import RequestError, RequestTooLarge

PATH = "messages[0].content[1].image_url"
FILE = b"any file at all"
TEXT = base64.b64encode(FILE).decode()
LIMIT = 1000


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64",
        "data:image/jpeg;base64",
        "DATA:Image/PNG;Base64",
        "data:application/pdf;base64",
        "data:image/png;name=a.png;base64",
        "data:image/svg+xml;charset=utf-8;base64",
    ],
)
def test_the_file_inside(head: str) -> None:
    """What it is, its bytes say, not the URL."""
    assert from_data_url(f"{head},{TEXT}", PATH, LIMIT) == FILE


@pytest.mark.parametrize(
    "url",
    [
        *("", "data:", "data:,", f"data:;base64,{TEXT}", f"data:base64,{TEXT}", f"image/png;base64,{TEXT}"),
        *(f"data:text/html;base64,{TEXT}", f"data:application/zip;base64,{TEXT}", f"data:image/png,{TEXT}"),
        *(
            f"data:application/pdfx;base64,{TEXT}",
            f"data:image/png;base64;x=y,{TEXT}",
            f" data:image/png;base64,{TEXT}",
        ),
        *("data:image/png;base64", f"data:image/{'x' * 300};base64,{TEXT}", "data:image/png,%89PNG%0D%0A"),
    ],
)
def test_another_head_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="expected") as caught:
        from_data_url(url, PATH, LIMIT)

    assert caught.value.param == PATH


@pytest.mark.parametrize(
    "text",
    [
        *(
            "QQ",
            "QQ=",
            "QQ===",
            "QQ==QQ==",
            "Q",
            "====",
            "=QQ=",
            "QUI=\n",
            "QU I=",
            "QU\nI=",
            "QUI%3D",
            "Q-_A",
        ),
        *("QUI=!", "QUI\0", "QÜI=", "\ud800QI="),
    ],
)
def test_what_is_not_base64_is_refused(text: str) -> None:
    """A decoder that drops what it does not know would take any of these for something."""
    with pytest.raises(RequestError, match="base64") as caught:
        from_data_url(f"data:image/png;base64,{text}", PATH, LIMIT)

    assert caught.value.param == PATH
    assert text not in caught.value.message


def test_the_limit_is_checked_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    most = base64.b64encode(bytes(LIMIT)).decode()
    assert len(from_data_url(f"data:image/png;base64,{most}", PATH, LIMIT)) == LIMIT
    monkeypatch.setattr(pybase64, "b64decode", None)

    with pytest.raises(RequestTooLarge, match="max_file_bytes") as caught:
        from_data_url(f"data:image/png;base64,{most}AAAA", PATH, LIMIT)

    assert caught.value.param == PATH


# --- in a JSON body, uncopied -----------------------------------------------------------------


def uncopied(text: str) -> UncopiedUrl:
    return UncopiedUrl(memoryview(text.encode()))


@pytest.mark.parametrize("text", [TEXT, base64.b64encode(b"\xff" * 30).decode().replace("/", "\\/")])
def test_the_file_inside_a_body(text: str) -> None:
    """PHP writes "/" as "\\/", which base64 is full of."""
    expected = base64.b64decode(text.replace("\\", ""))

    assert from_data_url(uncopied(f"data:image/png;base64,{text}"), PATH, LIMIT) == expected


def test_escapes_do_not_count_against_the_limit() -> None:
    text = base64.b64encode(b"\xff" * LIMIT).decode().replace("/", "\\/")

    assert from_data_url(uncopied(f"data:image/png;base64,{text}"), PATH, LIMIT) == b"\xff" * LIMIT


@pytest.mark.parametrize(
    "url",
    [
        *(
            f"data:text/html;base64,{TEXT}",
            "data:",
            f"data:image/png;base64,{TEXT}\\q",
            "data:image/png;base64,\\",
        ),
        *("data:\u2028,", f"data:image/png;base64,{TEXT}\\u00e9"),
    ],
)
def test_what_is_wrong_in_a_body_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="expected") as caught:
        from_data_url(uncopied(url), PATH, LIMIT)

    assert caught.value.param == PATH


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("/", "\\/"), TEXT.replace("Y", "\\u0059")])
def test_base64_alone_is_read_where_it_stands(text: str) -> None:
    url = UncopiedUrl(memoryview(text.encode()), is_bare=True)

    assert from_data_url(url, PATH, LIMIT) == FILE


@pytest.mark.parametrize("text", [f"data:image/png;base64,{TEXT}", "\\", "\\q", "a b"])
def test_base64_alone_has_no_head_and_no_wrong_escapes(text: str) -> None:
    with pytest.raises(RequestError, match="expected"):
        from_data_url(UncopiedUrl(memoryview(text.encode()), is_bare=True), PATH, LIMIT)
