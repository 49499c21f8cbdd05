"""Requests for completions: of one document only the last one counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from plugins.stdio.lsp.asker import Asker
from plugins.stdio.lsp.cursor import Cursor, cursor_at
from plugins.stdio.lsp.documents import Document, Documents
from plugins.stdio.lsp.offers import completion_list, inline_list
from plugins.stdio.lsp.options import Options
from plugins.stdio.lsp.positions import units_at
from plugins.stdio.lsp.shapes import CompletionParams, Position, Range
from transports.errors import MlxdError

INLINE: Final = "textDocument/inlineCompletion"
COMPLETION: Final = "textDocument/completion"
Method: TypeAlias = Literal["textDocument/inlineCompletion", "textDocument/completion"]


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, as the document was then."""

    cursor: Cursor
    # What the offer replaces, and what it goes on from there.
    where: Range
    begun: str


class Completions:
    """The two ways to ask for a completion.

    Args:
        asker: Asks the model.
        documents: Those that are open.
        default_model: For an editor that names none.
        ended: Called before a request is answered, with its error if it failed.
    """

    def __init__(
        self,
        asker: Asker,
        documents: Documents,
        default_model: str,
        ended: Callable[[MlxdError | None], None],
    ) -> None:
        self.options = Options()
        self._asker = asker
        self._documents = documents
        self._default_model = default_model
        self._ended = ended
        # Method and document -> its last request, unless that has ended.
        self._asked: dict[tuple[Method, str], asyncio.Task[object]] = {}

    def ask(self, method: Method, params: CompletionParams) -> Awaitable[object]:
        """Begin to answer for the document as it is now; the request before is not wanted any more."""
        key = (method, params.text_document.uri)
        self._cancel(key)
        document = self._documents.get(params.text_document.uri)
        question = self._question(method, document, params) if document else None
        self._asked[key] = task = asyncio.create_task(self._answer(method, question))
        task.add_done_callback(lambda done: self._asked.get(key) is done and self._asked.pop(key))
        return task

    def closed(self, uri: str) -> None:
        """A document is closed: nobody waits for its answers."""
        self._cancel((INLINE, uri))
        self._cancel((COMPLETION, uri))

    def _cancel(self, key: tuple[Method, str]) -> None:
        if older := self._asked.pop(key, None):
            older.cancel()

    def _question(self, method: Method, document: Document, params: CompletionParams) -> _Question:
        encoding = self._documents.encoding
        place = document.place(params.position, encoding)
        cursor = cursor_at(document, place, self.options.max_chars_before, self.options.max_chars_after)
        line = document.lines[place.line]
        start, begun = place.column, ""
        selected = params.context.selected_completion_info if params.context else None
        if method == COMPLETION:
            # Editors choose by the word that is being typed: the item has it too.
            begun = cursor.word
            start -= len(begun)
        elif selected and selected.range.start.line == place.line:
            # As if what is selected in the editor's own list were typed.
            begun = selected.text
            start = min(start, document.place(selected.range.start, encoding).column)
            before = cursor.before.removesuffix(line[start : place.column]) + begun
            cursor = replace(cursor, before=before)
        first, last = (
            Position(line=place.line, character=units_at(line, at, encoding)) for at in (start, place.column)
        )
        return _Question(cursor, Range(start=first, end=last), begun)

    async def _answer(self, method: Method, question: _Question | None) -> object:
        model, text = self.options.model or self._default_model, ""
        try:
            if question:
                text = await self._asker.offer(model, question.cursor, self.options.max_tokens)
        except MlxdError as e:
            self._ended(e)
            raise
        self._ended(None)
        where = question.where if question else _NOWHERE
        whole = question.begun + text if question and text else ""
        return inline_list(whole, where) if method == INLINE else completion_list(whole, where, model)


_NOWHERE = Range(start=Position(line=0, character=0), end=Position(line=0, character=0))
