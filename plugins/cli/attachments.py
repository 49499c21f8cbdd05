"""Pictures and documents as a person names them: a file or a URL. Reads files, decodes nothing."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import click

from plugins.media.picture import Source
from transports.errors import RequestError, RequestTooLarge

# Endings of files that may be pictures or documents; what a file is, its content says.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".heic", ".heif", ".pdf")

F = TypeVar("F", bound=Callable[..., object])
_PAGES = re.compile(r"[0-9]{1,6}(-[0-9]{1,6})?")


def is_url(name: str) -> bool:
    """Whether *name* is fetched, or holds the picture itself, and is no file."""
    return name[:8].lower().startswith(("http://", "https://", "data:"))


def as_path(name: str) -> Path:
    """The file that a person means by "~/a.png", "a.png" or "file:///a.png"."""
    if name[:7].lower() == "file://":
        name = unquote(urlsplit(name).path)
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~nobody/a.png".
        return Path(name)


def read_source(name: str, max_bytes: int, pages: str = "") -> Source:
    """A file or URL for the media intake. Blocks: call it in a thread.

    Args:
        name: What errors call it, too.
        max_bytes: Of a file.
        pages: Of a document.

    Raises:
        RequestError: The file cannot be read.
    """
    if is_url(name):
        return Source(content=name, path=name if len(name) < 100 else f"{name[:97]}...", pages=pages)
    return Source(content=read_file(as_path(name), name, max_bytes), path=name, pages=pages)


def read_file(path: Path, name: str, max_bytes: int) -> bytes:
    """The content of a file.

    Raises:
        RequestError: It cannot be read, or is none.
        RequestTooLarge: It has more than *max_bytes*.
    """
    try:
        # A pipe would keep us waiting for somebody who writes.
        if not stat.S_ISREG(path.stat().st_mode):
            raise RequestError(f"{name}: not a file", param=name)
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise RequestError(f"{name}: {reason}", param=name) from None
    if len(content) > max_bytes:
        raise RequestTooLarge(
            f"{name}: expected at most {max_bytes} bytes (media.max_file_bytes)", param=name
        )
    return content


def is_document(content: bytes) -> bool:
    """Whether this is a PDF, which has pages. The decoder looks again."""
    return b"%PDF-" in content[:1024]


def media_flags(command: F) -> F:
    """Give a click command --image, --pdf and --pages."""
    for option in (
        click.option(
            "--pages", default="", metavar="N-M", callback=_check_pages, help="Of each PDF. Default: all."
        ),
        click.option(
            "--pdf",
            multiple=True,
            metavar="FILE",
            callback=_check_names,
            help="Send the pages of a document.",
        ),
        click.option(
            "--image",
            multiple=True,
            metavar="FILE|URL",
            callback=_check_names,
            help="Send a picture. May be given several times.",
        ),
    ):
        command = option(command)
    return command


def _check_names(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a file that is not there before anything is started."""
    for name in names:
        if not is_url(name) and not as_path(name).exists():
            raise click.BadParameter(f"{name}: no such file", ctx, param)
    return names


def _check_pages(ctx: click.Context, param: click.Parameter, pages: str) -> str:
    if pages and not _PAGES.fullmatch(pages):
        raise click.BadParameter(
            f'expected a page or a range, such as "2" or "1-3", got "{pages}"', ctx, param
        )
    return pages
