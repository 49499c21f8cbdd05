"""The parts of an item: words, and pictures that are still to be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plugins.media.picture import Source
from plugins.openai.content import document, picture_url
from plugins.openai.requests import InputFile
from plugins.raw_fields import has_value
from plugins.responses.requests import ItemPart
from transports.errors import RequestError


def read_parts(content: str | Sequence[ItemPart], path: str) -> list[str | Source]:
    """Tell words and pictures apart; nothing is decoded or fetched for this.

    Args:
        content: Of a message or of a tool's result.
        path: Where it stands in the request.

    Raises:
        RequestError: A part of another type, or without its content.
    """
    if isinstance(content, str):
        return [content]
    return [_part(part, f"{path}[{i}]") for i, part in enumerate(content)]


def text_of(parts: Sequence[ItemPart] | str | None) -> str:
    """The words of what holds only words."""
    if parts is None or isinstance(parts, str):
        return parts or ""
    return "".join(part.text or "" for part in parts)


def _part(part: ItemPart, path: str) -> str | Source:
    match part.type:
        case "input_text" | "output_text" | "text":
            return _required(part.text, f"{path}.text")
        case "refusal":
            return _required(part.refusal, f"{path}.refusal")
        case "input_image":
            return _picture(part, f"{path}.image_url")
        case "input_file":
            return _file(part, path)
    raise RequestError(
        f"{path}.type: expected one of input_text, output_text, refusal, input_image, input_file",
        param=f"{path}.type",
    )


def _picture(part: ItemPart, path: str) -> Source:
    if not has_value(part.image_url):
        reason = ", because files are not kept here for a file_id" if part.file_id else ", and missing"
        raise RequestError(f"{path}: required{reason}", param=path)
    return Source(content=picture_url(part.image_url, path), path=path, detail=part.detail or "auto")


def _file(part: ItemPart, path: str) -> Source:
    if part.file_data is None and part.file_url is not None:
        return Source(content=part.file_url, path=f"{path}.file_url", detail=part.detail or "auto")
    file = InputFile(file_data=part.file_data, file_id=part.file_id)
    return replace(document(file, f"{path}.file_data"), detail=part.detail or "auto")


def _required(value: str | None, path: str) -> str:
    if value is None:
        raise RequestError(f"{path}: required, and missing", param=path)
    return value
