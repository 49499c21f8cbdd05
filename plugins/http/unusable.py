"""What a request asks of its model that it cannot do, and that may be left out of it."""

from __future__ import annotations

from collections.abc import Sequence

from plugins.capable_models import CapableModels
from plugins.http.exchange import Exchange


class Unusable:
    """Asks what models can do, and remembers it."""

    def __init__(self) -> None:
        self._tool_models = CapableModels("tools")
        self._thinking_models = CapableModels("reasoning")

    async def fields(
        self, exchange: Exchange, model: str, *, thinking: Sequence[str] = (), may_leave_out_tools: bool
    ) -> list[str]:
        """The fields that the model cannot honour; all others are for the worker to take or refuse.

        Args:
            exchange: Its settings say whether tools are ever left out.
            model: As the request names it.
            thinking: Fields that want thoughts.
            may_leave_out_tools: Whether the request would be answered without its tools.
        """
        found: list[str] = []
        if thinking and not await self._thinking_models.can(exchange, model):
            found += thinking
        wants_tools = may_leave_out_tools and exchange.settings.ignore_unusable_tools
        if wants_tools and not await self._tool_models.can(exchange, model):
            found.append("tools")
        return found
