"""What an editor may ask, as one of several protocols has it; and which of them an editor speaks."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec
from msgspec import Raw, Struct

from plugins.stdio.jsonrpc import INVALID_PARAMS, Notification, Request, RpcError

if TYPE_CHECKING:
    from plugins.stdio.connection import Connection
    from plugins.stdio.kernel_link import KernelLink
    from transports.settings import Settings

# Name -> "package.module:class". Imported once it is known which one: the others would make its start slow.
PERSONALITIES: Mapping[str, str] = {
    "acp": "plugins.stdio.acp.personality:AcpPersonality",
    "raw": "plugins.stdio.raw.personality:RawPersonality",
    "lsp": "plugins.stdio.lsp.personality:LspPersonality",
}


class Personality(Protocol):
    """Answers the requests of one editor. Everything is called from the event loop, in order of arrival."""

    @property
    def exit_code(self) -> int:
        """Of the process, should stdin end now."""
        ...

    def call(self, request: Request) -> Awaitable[object]:
        """Begin a request.

        What must keep its place among other messages is done before this returns. The awaitable is
        cancelled when the editor does not want the answer any more.

        Returns:
            The result, for `msgspec.json`.

        Raises:
            RpcError: There is no such method.
            MlxdError: The request failed; also from the awaitable.
        """
        ...

    def notified(self, notification: Notification) -> None:
        """Take a notification. What it is about may be wrong: nobody is told."""
        ...

    async def close(self) -> None:
        """Give back what it holds; all its requests have ended."""
        ...


Build: TypeAlias = "Callable[[Connection, KernelLink, Settings], Personality]"


def load(name: str) -> Build:
    """The class of a personality; *name* is one of `PERSONALITIES`."""
    module, _, attribute = PERSONALITIES[name].partition(":")
    build: Build = getattr(importlib.import_module(module), attribute)
    return build


class _Initialize(Struct, frozen=True):
    """What tells the `initialize` of one protocol from that of another."""

    # A number in ACP, a date in MCP.
    protocol_version: Raw = msgspec.field(default=Raw(), name="protocolVersion")
    # Required in LSP; MCP has it too.
    capabilities: Raw = Raw()


def recognized(method: str, params: Raw) -> str:
    """The name of the protocol that begins with this message.

    Raises:
        RpcError: None of ours does.
    """
    if method != "initialize":
        return "raw"
    try:
        said = msgspec.json.decode(params, type=_Initialize)
    except msgspec.DecodeError:
        said = _Initialize()
    version = bytes(said.protocol_version)
    if version.isdigit():
        return "acp"
    if not version and bytes(said.capabilities):
        return "lsp"
    raise RpcError(
        INVALID_PARAMS,
        "initialize: expected that of LSP (capabilities) or of ACP (protocolVersion, a number); "
        "the raw methods need none",
    )
