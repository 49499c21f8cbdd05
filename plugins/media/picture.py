"""What goes into the media intake and what comes out of it: sources and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from plugins.media.data_url import UncopiedUrl

Detail: TypeAlias = Literal["auto", "low", "high", "original"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One picture or document of a request."""

    # The encoded bytes, whose format is found by looking at them; or an http(s) or data: URL.
    content: bytes | memoryview | str | UncopiedUrl
    # Where it stands in the request, for errors: "messages[0].content[1].image_url".
    path: str
    detail: Detail = "auto"
    # Of a document: "2", "1-3"; "" is all.
    pages: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A decoded picture: upright, without alpha, at the size that the model is to look at."""

    width: int
    height: int
    # SHA-256 over b"RGB", width and height as <u4, and the pixels.
    digest: bytes
    # uint8 of shape (height, width, 3), RGB; or the name of the file that holds them, relative to
    # `Welcome.shared_dir`, which is the caller's to remove (`transports/pixels.py`).
    pixels: bytes | str
