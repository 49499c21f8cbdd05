"""What of a model's answer is offered at the cursor, in the shapes of LSP. Knows no model."""

from __future__ import annotations

from plugins.stdio.lsp.cursor import Cursor
from plugins.stdio.lsp.shapes import Range

# LSP 3.17: CompletionItemKind.Text, InsertTextFormat.PlainText, InsertTextMode.asIs.
_TEXT, _PLAIN, _AS_IS = 1, 1, 1
# Of what a list of completions shows of one.
_MAX_LABEL = 80


def offered(answer: str, cursor: Cursor, *, has_seen_after: bool) -> str:
    """The text to put at the cursor; "" if there is nothing worth it.

    Args:
        answer: What the model said.
        has_seen_after: Whether it was asked for what belongs between; if not it may say again what follows.
    """
    text = answer.rstrip()
    if has_seen_after:
        return text
    rest = cursor.rest.strip()
    for length in range(min(len(rest), len(text)), 0, -1):
        if text.endswith(rest[:length]):
            return text[:-length].rstrip()
    return text


def inline_list(text: str, where: Range) -> dict[str, object]:
    """InlineCompletionList: *text* in the place of *where*, which has no line end in it."""
    return {"items": [{"insertText": text, "range": where}] if text else []}


def completion_list(text: str, where: Range, model: str) -> dict[str, object]:
    """CompletionList: *text* in the place of *where*; editors compare it with what stands there."""
    if not text:
        return {"isIncomplete": True, "items": []}
    first = text.strip().partition("\n")[0]
    item = {
        "label": first if len(first) <= _MAX_LABEL else first[: _MAX_LABEL - 1] + "…",
        "kind": _TEXT,
        "detail": model,
        "documentation": text,
        "filterText": text,
        "insertTextFormat": _PLAIN,
        "insertTextMode": _AS_IS,
        "textEdit": {"range": where, "newText": text},
    }
    # Incomplete: with the next character another answer may be better.
    return {"isIncomplete": True, "items": [item]}
