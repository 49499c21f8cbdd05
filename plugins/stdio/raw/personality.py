"""The methods of the raw personality."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from plugins.openai.models import model_object
from plugins.stdio.connection import Connection, unknown_method
from plugins.stdio.jsonrpc import Notification, Request
from plugins.stdio.kernel_link import KernelLink
from plugins.stdio.raw.generation import Generation
from plugins.stdio.raw.vectors import Vectorizer
from transports.settings import Settings

Method: TypeAlias = Callable[[Request], Awaitable[object]]


class RawPersonality:
    """Answers programs that want OpenAI's API without a port.

    Args:
        connection: To the program.
        kernel: Where requests go.
        settings: All settings.
    """

    # Of a program that has asked all it wanted.
    exit_code = 0

    def __init__(self, connection: Connection, kernel: KernelLink, settings: Settings) -> None:
        self._kernel = kernel
        self._generation = Generation(connection, kernel, settings)
        vectorizer = Vectorizer(kernel, settings)
        self._methods: Mapping[str, Method] = {
            "chat.completions.create": self._generation.chat,
            "completions.create": self._generation.completion,
            "tokens.count": self._generation.count,
            "embeddings.create": vectorizer.embeddings,
            "rerank": vectorizer.rerank,
            "models.list": self._models,
            "status": self._status,
        }

    def call(self, request: Request) -> Awaitable[object]:
        """Begin a request."""
        if request.method not in self._methods:
            raise unknown_method(request.method)
        return self._methods[request.method](request)

    def notified(self, notification: Notification) -> None:
        """There are no notifications but those of JSON-RPC itself."""

    async def close(self) -> None:
        """End what decodes pictures."""
        await self._generation.close()

    async def _models(self, _: Request) -> object:
        client = await self._kernel.client()
        models = [model_object(info) for info in await client.models() if info.kind]
        return {"object": "list", "data": models}

    async def _status(self, _: Request) -> object:
        return await (await self._kernel.client()).status()
