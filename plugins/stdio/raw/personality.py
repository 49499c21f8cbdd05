"""The methods of the raw personality."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from msgspec import Raw

from plugins.openai.models import model_object
from plugins.stdio.connection import Connection, unknown_method
from plugins.stdio.kernel_link import KernelLink
from transports.settings import Settings

Method: TypeAlias = Callable[[Raw], Awaitable[object]]


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
        self._methods: Mapping[str, Method] = {
            "models.list": self._models,
            "status": self._status,
        }

    def call(self, method: str, params: Raw) -> Awaitable[object]:
        """Begin a request."""
        if method not in self._methods:
            raise unknown_method(method)
        return self._methods[method](params)

    def notified(self, method: str, params: Raw) -> None:
        """There are no notifications but those of JSON-RPC itself."""

    async def close(self) -> None:
        """Nothing is held."""

    async def _models(self, _: Raw) -> object:
        client = await self._kernel.client()
        models = [model_object(info) for info in await client.models() if info.kind]
        return {"object": "list", "data": models}

    async def _status(self, _: Raw) -> object:
        return await (await self._kernel.client()).status()
