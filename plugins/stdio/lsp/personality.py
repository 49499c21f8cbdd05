"""The methods of the LSP personality, and when each of them may be called."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

import msgspec
from msgspec import Raw

from plugins.stdio.connection import Connection, unknown_method
from plugins.stdio.jsonrpc import (
    INVALID_REQUEST,
    NULL,
    SERVER_NOT_INITIALIZED,
    Notification,
    Request,
    RpcError,
)
from plugins.stdio.kernel_link import KernelLink
from plugins.stdio.lsp.asker import Asker
from plugins.stdio.lsp.completions import Completions
from plugins.stdio.lsp.documents import Documents
from plugins.stdio.lsp.loading import Loading
from plugins.stdio.lsp.options import SECTION, Options, read_options, read_settings
from plugins.stdio.lsp.positions import agreed
from plugins.stdio.lsp.shapes import (
    ClientCapabilities,
    CompletionParams,
    DidChangeConfigurationParams,
    DidChangeParams,
    DidCloseParams,
    DidOpenParams,
    InitializeParams,
)
from transports.errors import CapacityError, MlxdError
from transports.settings import Settings
from transports.version import VERSION

# LSP 3.17: TextDocumentSyncKind.Incremental, MessageType.Error and .Warning.
_INCREMENTAL, _ERROR, _WARNING = 2, 1, 2
# After these an editor asks by itself, as it does after letters.
_TRIGGERS = (".", "(", "[", "=", ":", " ")


class LspPersonality:
    """Offers completions to an editor that speaks LSP.

    Args:
        connection: To the editor.
        kernel: Where requests go.
        settings: All settings.
    """

    def __init__(self, connection: Connection, kernel: KernelLink, settings: Settings) -> None:
        self._connection = connection
        self._kernel = kernel
        self._loading = Loading(connection)
        self._documents = Documents()
        self._completions = Completions(
            Asker(kernel, self._loading), self._documents, settings.models.default, self._show
        )
        # Of `initialize`; settings go before them.
        self._first_options = Options()
        self._editor: ClientCapabilities | None = None
        self._is_shut_down = False
        self._configuring: asyncio.Task[None] | None = None
        # The last error that the editor was shown; the next keystroke would bring it again.
        self._shown_error = ""

    @property
    def exit_code(self) -> int:
        """LSP 3.17, "Exit Notification": 0 after shutdown, else 1."""
        return 0 if self._is_shut_down else 1

    def call(self, request: Request) -> Awaitable[object]:
        """Begin a request."""
        method, params = request.method, request.params
        if self._is_shut_down:
            raise RpcError(INVALID_REQUEST, f"{method}: after shutdown there is only exit")
        if method == "initialize":
            return _ready(self._initialize(msgspec.json.decode(params, type=InitializeParams)))
        if self._editor is None:
            raise RpcError(SERVER_NOT_INITIALIZED, f"{method}: expected initialize first")
        match method:
            case "textDocument/inlineCompletion" | "textDocument/completion":
                return self._completions.ask(method, msgspec.json.decode(params, type=CompletionParams))
            case "shutdown":
                self._is_shut_down = True
                return _ready(None)
        raise unknown_method(method)

    def notified(self, notification: Notification) -> None:
        """Take a notification."""
        method, params = notification.method, notification.params
        if method == "exit":
            self._connection.end(self.exit_code)
        # LSP 3.17: others are dropped before initialize; after shutdown they have no meaning.
        if self._editor is None or self._is_shut_down:
            return
        match method:
            case "initialized":
                self._configure()
            case "textDocument/didOpen":
                opened = msgspec.json.decode(params, type=DidOpenParams).text_document
                self._documents.open(opened.uri, opened.text)
            case "textDocument/didChange":
                changed = msgspec.json.decode(params, type=DidChangeParams)
                self._documents.change(changed.text_document.uri, changed.content_changes)
            case "textDocument/didClose":
                uri = msgspec.json.decode(params, type=DidCloseParams).text_document.uri
                self._documents.close(uri)
                self._completions.closed(uri)
            case "workspace/didChangeConfiguration":
                settings = msgspec.json.decode(params, type=DidChangeConfigurationParams).settings
                self._configure(settings)

    async def close(self) -> None:
        """Stop what goes on beside requests."""
        if self._configuring:
            self._configuring.cancel()
            await asyncio.wait([self._configuring])
        await self._loading.close()

    def _initialize(self, params: InitializeParams) -> Mapping[str, object]:
        if self._editor is not None:
            raise RpcError(INVALID_REQUEST, "initialize: expected once")
        self._completions.options = self._first_options = read_options(params.initialization_options)
        self._editor = editor = params.capabilities
        self._documents.encoding = agreed(editor.general.position_encodings if editor.general else None)
        self._loading.can_show = bool(editor.window and editor.window.work_done_progress)
        # Beside what the editor does next; the first keystroke need not wait for it.
        self._kernel.start()
        capabilities: dict[str, object] = {
            "positionEncoding": self._documents.encoding.value,
            "textDocumentSync": {"openClose": True, "change": _INCREMENTAL},
            "inlineCompletionProvider": True,
        }
        if not (editor.text_document and editor.text_document.inline_completion):
            # An editor that has both would be offered the same twice.
            capabilities["completionProvider"] = {"triggerCharacters": _TRIGGERS}
        return {"capabilities": capabilities, "serverInfo": {"name": "mlxd", "version": VERSION}}

    def _show(self, error: MlxdError | None) -> None:
        """Tell the person once: editors keep errors of completions to themselves."""
        if error is None:
            self._shown_error = ""
        elif error.message != self._shown_error and not isinstance(error, CapacityError):
            self._shown_error = error.message
            shown = {"type": _ERROR, "message": f"mlxd: {error.message}"}
            self._connection.notify("window/showMessage", shown)

    # --- configuration --------------------------------------------------------------------

    def _configure(self, settings: Raw = NULL) -> None:
        """Take new settings; null asks the editor for them, if it keeps any."""
        if bytes(settings) != b"null":
            self._set_options(settings)
        elif self._editor and self._editor.workspace and self._editor.workspace.configuration:
            if self._configuring:
                self._configuring.cancel()
            self._configuring = asyncio.create_task(self._ask_options())

    async def _ask_options(self) -> None:
        try:
            answer = await self._connection.ask("workspace/configuration", {"items": [{"section": SECTION}]})
            (settings,) = msgspec.json.decode(answer, type=list[Raw])
        except (RpcError, MlxdError, msgspec.DecodeError, ValueError):
            return
        self._set_options(settings)

    def _set_options(self, settings: Raw) -> None:
        try:
            self._completions.options = read_settings(settings, self._first_options)
        except msgspec.DecodeError as e:
            message = f"mlxd: settings: {e}"
            self._connection.notify("window/showMessage", {"type": _WARNING, "message": message})


async def _ready(value: object) -> object:
    return value
