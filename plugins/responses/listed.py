"""Items as they are kept and listed: each with an id, and its content as parts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from plugins.responses.parts import text_of
from plugins.responses.requests import Item, ItemPart
from plugins.responses.shapes import (
    CallItem,
    FilePart,
    ImagePart,
    InputPart,
    ListedItem,
    MessageItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    ResultItem,
    SummaryText,
    TextPart,
)


def new_id(prefix: str) -> str:
    """An id: of a response (resp), message (msg), call (fc), result (fco) or thought (rs)."""
    return f"{prefix}_{secrets.token_hex(24)}"


def listed_items(items: Iterable[Item]) -> list[ListedItem]:
    """Items that `items.py` has let through."""
    return [_listed(item) for item in items]


def _listed(item: Item) -> ListedItem:
    status = item.status or "completed"
    match item.type:
        case "function_call":
            return CallItem(
                id=item.id or new_id("fc"),
                status=status,
                call_id=item.call_id or "",
                name=item.name or "",
                arguments=item.arguments or "",
                namespace=_given(item.namespace),
            )
        case "function_call_output":
            output = item.output or ""
            return ResultItem(
                id=item.id or new_id("fco"),
                status=status,
                call_id=item.call_id or "",
                output=output if isinstance(output, str) else [_input_part(part) for part in output],
            )
        case "reasoning":
            thought, summary = text_of(item.content), text_of(item.summary)
            return ReasoningItem(
                id=item.id or new_id("rs"),
                status=status,
                summary=[SummaryText(text=summary)] if summary else [],
                content=[ReasoningText(text=thought)] if thought else [],
                encrypted_content=item.encrypted_content or UNSET,
            )
    content = item.content or ""
    parts = [ItemPart(type="input_text", text=content)] if isinstance(content, str) else content
    read = _output_part if item.role == "assistant" else _input_part
    return MessageItem(
        id=item.id or new_id("msg"),
        status=status,
        role=item.role or "user",
        content=[read(part) for part in parts],
    )


def _output_part(part: ItemPart) -> OutputText:
    return OutputText(text=part.text or part.refusal or "")


def _input_part(part: ItemPart) -> InputPart:
    if part.type == "input_image":
        return ImagePart(detail=part.detail or "auto", image_url=part.image_url)
    if part.type == "input_file":
        return FilePart(
            filename=_given(part.filename), file_data=_given(part.file_data), file_url=_given(part.file_url)
        )
    return TextPart(text=part.text or part.refusal or "")


def _given(value: str | None) -> str | UnsetType:
    return UNSET if value is None else value
