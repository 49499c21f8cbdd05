"""The turns of a chat from OpenAI's content parts: words, and pictures that are still to be decoded."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from plugins.media.data_url import UncopiedUrl
from plugins.media.picture import Source
from plugins.openai.requests import ContentPart, ImageUrl, InputFile, InputMessage
from plugins.openai.tools import read_calls
from plugins.raw_fields import has_value
from plugins.turns import Turn, check_texts_of
from transports.errors import RequestError

# Chat templates know a place for pictures in these turns only.
ROLES_WITH_IMAGES = frozenset({"user", "tool"})


def read_turns(messages: Sequence[InputMessage]) -> list[Turn]:
    """Tell the parts of *messages* apart; nothing is decoded or fetched for this.

    Raises:
        RequestError: A part of another type, in the wrong place, or without its content; or too much text.
    """
    turns = [_turn(message, f"messages[{i}].content") for i, message in enumerate(messages)]
    check_texts_of(turns)
    return turns


def _turn(message: InputMessage, path: str) -> Turn:
    return Turn(
        role=message.role,
        parts=_parts(message, path),
        name=message.name,
        tool_calls=read_calls(message.tool_calls),
        tool_call_id=message.tool_call_id,
        reasoning=message.reasoning_content or "",
    )


def _parts(message: InputMessage, path: str) -> list[str | Source]:
    _check_fields(message, path.removesuffix(".content"))
    if message.content is None:
        if message.refusal is not None:
            return [message.refusal]
        if message.role != "assistant" or not message.tool_calls:
            raise RequestError(f"{path}: required, and missing", param=path)
        return []
    if isinstance(message.content, str):
        return [message.content]
    parts = [_part(part, f"{path}[{i}]") for i, part in enumerate(message.content)]
    for part in parts:
        if isinstance(part, Source) and message.role not in ROLES_WITH_IMAGES:
            raise RequestError(
                f"{part.path}: expected pictures in turns of the roles user and tool, got {message.role}",
                param=part.path,
            )
    return parts


def _check_fields(message: InputMessage, path: str) -> None:
    # Thousands of turns are looked at in one go.
    if has_value(message.audio):
        raise _not_taken(f"{path}.audio")
    if has_value(message.function_call):
        raise _not_taken(f"{path}.function_call")
    if message.role != "assistant":
        if message.tool_calls:
            raise _misplaced(f"{path}.tool_calls", "assistant", message)
        if message.refusal:
            raise _misplaced(f"{path}.refusal", "assistant", message)
    if message.tool_call_id and message.role != "tool":
        raise _misplaced(f"{path}.tool_call_id", "tool", message)


def _not_taken(path: str) -> RequestError:
    return RequestError(f"{path}: not supported; leave it out", param=path)


def _misplaced(path: str, role: str, message: InputMessage) -> RequestError:
    return RequestError(f"{path}: expected in turns of the role {role}, got {message.role}", param=path)


def _part(part: ContentPart, path: str) -> str | Source:
    match part.type:
        case "text":
            return _required(part.text, f"{path}.text")
        case "refusal":
            return _required(part.refusal, f"{path}.refusal")
        case "image_url" | "input_image":
            return _picture(part, f"{path}.image_url")
        case "file":
            return document(part.file or InputFile(), f"{path}.file.file_data")
        case "input_file":
            file = InputFile(file_data=part.file_data, file_id=part.file_id)
            return document(file, f"{path}.file_data")
        case "input_audio" | "video_url":
            raise RequestError(f"{path}: parts of type {part.type} are not supported", param=path)
    raise RequestError(
        f"{path}.type: expected one of text, refusal, image_url, input_image, file, input_file",
        param=f"{path}.type",
    )


def _picture(part: ContentPart, path: str) -> Source:
    image = part.image_url
    if isinstance(image, ImageUrl):
        content = picture_url(image.url, f"{path}.url")
        return Source(content=content, path=path, detail=image.detail or part.detail or "auto")
    return Source(content=_required(image, path), path=path, detail=part.detail or "auto")


def picture_url(raw: Raw, path: str) -> str | UncopiedUrl:
    """The URL of a picture; one that holds the picture stays where it is.

    Raises:
        RequestError: It is no string.
    """
    text = memoryview(raw)
    if bytes(text[:6]).lower() == b'"data:':
        return UncopiedUrl(text[1:-1])
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        raise RequestError(f"{path}: expected a string", param=path) from None


def document(file: InputFile, path: str) -> Source:
    """A document from its data: URL or its base64 alone.

    Raises:
        RequestError: It is not in the request.
    """
    if file.file_data is None and file.file_id is not None:
        raise RequestError(f"{path}: required, because files are not kept here for a file_id", param=path)
    data = _required(file.file_data, path)
    is_url = data[:5].lower() == "data:"
    return Source(content=data if is_url else f"data:application/pdf;base64,{data}", path=path)


def _required(value: str | None, path: str) -> str:
    if value is None:
        raise RequestError(f"{path}: required, and missing", param=path)
    return value
