"""What of LSP 3.17, and of inlineCompletion in 3.18, is read and written; other fields are skipped.

Structs of our own: to import lsprotocol takes longer than `initialize` may (docs/adr/0010-lsp-structs.md).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

# LSP 3.17, uinteger: up to 2^31 - 1.
Uinteger = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Shape(Struct, frozen=True, rename="camel"):
    """Base of all: names as in the specification."""


class Position(Shape, frozen=True):
    """A line and code units, both from 0."""

    line: Uinteger
    character: Uinteger


class Range(Shape, frozen=True):
    """From start up to end, which is not part of it."""

    start: Position
    end: Position


# --- initialize -------------------------------------------------------------------------------


class GeneralCapabilities(Shape, frozen=True):
    """What concerns everything."""

    position_encodings: list[str] | None = None


class WindowCapabilities(Shape, frozen=True):
    """What the editor can show."""

    work_done_progress: bool | None = None


class WorkspaceCapabilities(Shape, frozen=True):
    """What the editor knows beside its documents."""

    configuration: bool | None = None


class TextDocumentCapabilities(Shape, frozen=True):
    """What the editor can ask for; only whether it is there counts."""

    inline_completion: Raw | msgspec.UnsetType = msgspec.UNSET


class ClientCapabilities(Shape, frozen=True):
    """What the editor can do."""

    general: GeneralCapabilities | None = None
    window: WindowCapabilities | None = None
    workspace: WorkspaceCapabilities | None = None
    text_document: TextDocumentCapabilities | None = None


class InitializeParams(Shape, frozen=True):
    """The first request."""

    capabilities: ClientCapabilities
    initialization_options: Raw = msgspec.field(default=Raw(b"null"))


# --- documents --------------------------------------------------------------------------------


class OpenedDocument(Shape, frozen=True):
    """A document with its text."""

    uri: str
    text: str


class DidOpenParams(Shape, frozen=True):
    """textDocument/didOpen."""

    text_document: OpenedDocument


class DocumentId(Shape, frozen=True):
    """Which document; a version is not looked at, as messages come in order."""

    uri: str


class Change(Shape, frozen=True):
    """A new text for a range, or for all of a document."""

    text: str
    range: Range | None = None


class DidChangeParams(Shape, frozen=True):
    """textDocument/didChange."""

    text_document: DocumentId
    content_changes: list[Change]


class DidCloseParams(Shape, frozen=True):
    """textDocument/didClose."""

    text_document: DocumentId


class DidChangeConfigurationParams(Shape, frozen=True):
    """workspace/didChangeConfiguration."""

    settings: Raw = msgspec.field(default=Raw(b"null"))


# --- completion -------------------------------------------------------------------------------


class SelectedCompletion(Shape, frozen=True):
    """What is selected in the editor's own list of completions; the offer is to go on from there."""

    range: Range
    text: str


class InlineContext(Shape, frozen=True):
    """How an inline completion came to be asked for."""

    selected_completion_info: SelectedCompletion | None = None


class CompletionParams(Shape, frozen=True):
    """textDocument/completion and textDocument/inlineCompletion."""

    text_document: DocumentId
    position: Position
    context: InlineContext | None = None
