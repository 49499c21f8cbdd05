"""The methods of the ACP personality."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec

from plugins.stdio.acp.conversation import Conversation
from plugins.stdio.acp.shapes import OfSession, Prompt, SetOption
from plugins.stdio.acp.turn import Turns
from plugins.stdio.connection import Connection, unknown_method
from plugins.stdio.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, Notification, Request, RpcError
from plugins.stdio.kernel_link import KernelLink
from transports.errors import CapacityError
from transports.settings import Settings
from transports.version import VERSION

# Of the protocol; the same since its first release.
PROTOCOL_VERSION = 1
# An editor has one for each of its panels. Their pictures stay in memory.
MAX_SESSIONS = 64

Method: TypeAlias = Callable[[Request], Awaitable[object]]


class AcpPersonality:
    """Answers editors that talk with agents: each session is a conversation with a model.

    Args:
        connection: To the editor.
        kernel: Where requests go.
        settings: All settings.
    """

    # Editors end agents by closing their stdin.
    exit_code = 0

    def __init__(self, connection: Connection, kernel: KernelLink, settings: Settings) -> None:
        self._kernel = kernel
        self._default_model = settings.models.default
        self._turns = Turns(connection, kernel, settings.media)
        self._sessions: dict[str, Conversation] = {}
        # Session id -> the turn that runs in it.
        self._running: dict[str, asyncio.Task[str]] = {}
        self._methods: Mapping[str, Method] = {
            "initialize": self._initialize,
            "session/new": self._new,
            "session/prompt": self._prompt,
            "session/set_config_option": self._set_option,
            "session/close": self._close_session,
        }

    def call(self, request: Request) -> Awaitable[object]:
        """Begin a request."""
        if request.method not in self._methods:
            raise unknown_method(request.method)
        return self._methods[request.method](request)

    def notified(self, notification: Notification) -> None:
        """Take a notification."""
        if notification.method == "session/cancel":
            session_id = msgspec.json.decode(notification.params, type=OfSession).session_id
            if turn := self._running.get(session_id):
                turn.cancel()

    async def close(self) -> None:
        """End what decodes pictures."""
        await self._turns.close()

    async def _initialize(self, _: Request) -> object:
        # Beside what the editor does next.
        self._kernel.start()
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentCapabilities": {
                "loadSession": False,
                "promptCapabilities": {"image": True, "audio": False, "embeddedContext": True},
                "sessionCapabilities": {"close": {}},
            },
            "authMethods": [],
            "agentInfo": {"name": "mlxd", "title": "mlxd", "version": VERSION},
        }

    async def _new(self, _: Request) -> object:
        if len(self._sessions) >= MAX_SESSIONS:
            raise CapacityError(f"more than {MAX_SESSIONS} sessions; close one")
        session_id = secrets.token_urlsafe(16)
        self._sessions[session_id] = conversation = Conversation(self._default_model)
        return {"sessionId": session_id, "configOptions": await self._options(conversation)}

    async def _set_option(self, request: Request) -> object:
        params = msgspec.json.decode(request.params, type=SetOption)
        conversation = self._session(params.session_id)
        if params.config_id != "model":
            raise RpcError(INVALID_PARAMS, 'configId: expected "model"')
        conversation.model = params.value
        return {"configOptions": await self._options(conversation)}

    async def _close_session(self, request: Request) -> object:
        session_id = msgspec.json.decode(request.params, type=OfSession).session_id
        self._session(session_id)
        if turn := self._running.get(session_id):
            turn.cancel()
        del self._sessions[session_id]
        return {}

    async def _prompt(self, request: Request) -> object:
        params = msgspec.json.decode(request.params, type=Prompt)
        conversation = self._session(params.session_id)
        if params.session_id in self._running:
            raise RpcError(INVALID_REQUEST, "session/prompt: a turn of this session is still running")
        # A task of its own: session/cancel ends it, and the request still has a good answer.
        turn = asyncio.create_task(self._turns.run(params.session_id, conversation, params.prompt))
        self._running[params.session_id] = turn
        try:
            await asyncio.wait([turn])
        except asyncio.CancelledError:
            # $/cancel_request, or the end.
            turn.cancel()
            await asyncio.wait([turn])
            raise
        finally:
            del self._running[params.session_id]
        return {"stopReason": "cancelled" if turn.cancelled() else turn.result()}

    def _session(self, session_id: str) -> Conversation:
        if session_id not in self._sessions:
            raise RpcError(INVALID_PARAMS, "sessionId: no such session")
        return self._sessions[session_id]

    async def _options(self, conversation: Conversation) -> list[dict[str, object]]:
        """The choice of a model, as editors show it."""
        infos = await (await self._kernel.client()).models()
        # Of some it is not known what they do.
        names = [info.name for info in infos if info.kind and (not info.tasks or "chat" in info.tasks)]
        if conversation.model not in names:
            names.insert(0, conversation.model)
        return [
            {
                "id": "model",
                "name": "Model",
                "category": "model",
                "type": "select",
                "currentValue": conversation.model,
                "options": [{"value": name, "name": name} for name in names],
            }
        ]
