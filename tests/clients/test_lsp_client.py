"""pytest-lsp, a client that checks what a server says against the specification, with `mlxd stdio`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcRequestCancelled
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client
from running import RunningKernel, add_model

MLXD = str(Path(sys.executable).with_name("mlxd"))
URI = "file:///a.py"
NUM_KEYSTROKES = 200
TIMEOUT_S = 20.0


@pytest.fixture
async def editor(kernel: RunningKernel) -> AsyncIterator[LanguageClient]:
    """A client with a running server, which it ends."""
    client = make_test_lsp_client()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLXD_")}
    await client.start_io(MLXD, "stdio", env=environment | {"MLXD_HOME": str(kernel.home)})
    async with asyncio.timeout(TIMEOUT_S):
        yield client
        await client.shutdown_session()
    assert client._server is not None
    assert client._server.returncode == 0
    await client.stop()


async def initialized(editor: LanguageClient, name: str, model: str = "echo/plain") -> lsp.InitializeResult:
    return await editor.initialize_session(
        lsp.InitializeParams(
            capabilities=client_capabilities(name), initialization_options={"model": model, "maxTokens": 40}
        )
    )


def opened(editor: LanguageClient, text: str) -> None:
    document = lsp.TextDocumentItem(uri=URI, language_id="python", version=1, text=text)
    editor.text_document_did_open(lsp.DidOpenTextDocumentParams(text_document=document))


def inline(character: int) -> lsp.InlineCompletionParams:
    return lsp.InlineCompletionParams(
        context=lsp.InlineCompletionContext(trigger_kind=lsp.InlineCompletionTriggerKind.Automatic),
        text_document=lsp.TextDocumentIdentifier(uri=URI),
        position=lsp.Position(line=0, character=character),
    )


@pytest.mark.parametrize("name", ["visual_studio_code", "neovim"])
async def test_an_editor_edits_and_is_offered_something(editor: LanguageClient, name: str) -> None:
    result = await initialized(editor, name)
    # Neovim wants positions in bytes.
    start = (
        5
        + {lsp.PositionEncodingKind.Utf8: 4, lsp.PositionEncodingKind.Utf16: 2}[
            lsp.PositionEncodingKind(result.capabilities.position_encoding)
        ]
    )
    opened(editor, "x = (\n")
    editor.text_document_did_change(
        lsp.DidChangeTextDocumentParams(
            text_document=lsp.VersionedTextDocumentIdentifier(uri=URI, version=2),
            content_changes=[
                lsp.TextDocumentContentChangePartial(
                    range=lsp.Range(start=lsp.Position(0, 5), end=lsp.Position(0, 5)), text="\U0001f600fo"
                )
            ],
        )
    )
    offered = await editor.text_document_inline_completion_async(inline(start + 2))
    listed = await editor.text_document_completion_async(
        lsp.CompletionParams(
            text_document=lsp.TextDocumentIdentifier(uri=URI), position=lsp.Position(0, start + 2)
        )
    )

    assert result.capabilities.completion_provider is not None
    assert isinstance(offered, lsp.InlineCompletionList)
    # The echo model says what it got.
    assert offered.items[0].insert_text == "x = (\U0001f600fo<middle>"
    assert isinstance(listed, lsp.CompletionList)
    edit = listed.items[0].text_edit
    assert isinstance(edit, lsp.TextEdit)
    assert edit.new_text == "fox = (\U0001f600fo<middle>"
    assert edit.range == lsp.Range(start=lsp.Position(0, start), end=lsp.Position(0, start + 2))


async def test_loading_is_shown(editor: LanguageClient, kernel: RunningKernel) -> None:
    add_model(kernel.home, "echo/heavy", load_s=0.3)
    await initialized(editor, "neovim", "echo/heavy")
    opened(editor, "x")
    await editor.text_document_inline_completion_async(inline(1))
    (reports,) = editor.progress_reports.values()
    while not isinstance(reports[-1], lsp.WorkDoneProgressEnd):
        await editor.wait_for_notification(lsp.PROGRESS)

    assert isinstance(reports[0], lsp.WorkDoneProgressBegin)
    assert reports[0].title == "mlxd: echo/heavy"
    assert reports[-1].message == "loaded"


async def test_keystrokes_that_cancel_each_other_end_once_each(editor: LanguageClient) -> None:
    await initialized(editor, "visual_studio_code", "echo/slow")
    # A third of a second: no answer is there before the next key is pressed.
    opened(editor, " word" * 32)
    answers = []
    for typed in range(NUM_KEYSTROKES):
        editor.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                text_document=lsp.VersionedTextDocumentIdentifier(uri=URI, version=2 + typed),
                content_changes=[
                    lsp.TextDocumentContentChangePartial(
                        range=lsp.Range(start=lsp.Position(0, typed), end=lsp.Position(0, typed)), text="x"
                    )
                ],
            )
        )
        answers.append(editor.text_document_inline_completion_async(inline(typed + 1)))
    ends = await asyncio.gather(*answers, return_exceptions=True)

    assert [type(end) for end in ends[:-1]] == [JsonRpcRequestCancelled] * (NUM_KEYSTROKES - 1)
    last = ends[-1]
    assert isinstance(last, lsp.InlineCompletionList)
    assert last.items[0].insert_text.startswith("x" * NUM_KEYSTROKES + "<middle> word word")
