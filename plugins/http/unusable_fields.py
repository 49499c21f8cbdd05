"""What a request asks of its model that it cannot do: refused, or left out where it may be."""

from __future__ import annotations

from plugins.capable_models import CapableModels
from plugins.http.exchange import Exchange
from plugins.thinking_models import NO_THINKING_FIELDS, ThinkingFields, ThinkingModels

# For programs that ask for thoughts with every turn, as agents do.
_OR_IGNORE = ", or set http.ignore_unusable_fields = true"


class UnusableFields:
    """Asks what models can do, and remembers it."""

    def __init__(self) -> None:
        self._tool_models = CapableModels("tools")
        self._thinking_models = ThinkingModels()

    async def fields(
        self,
        exchange: Exchange,
        model: str,
        *,
        thinking: ThinkingFields = NO_THINKING_FIELDS,
        may_leave_out_tools: bool,
    ) -> list[str]:
        """The fields that have no effect on the model; all others are for the worker to take or refuse.

        Args:
            exchange: Its settings say whether anything is left out that matters.
            model: As the request names it.
            thinking: Fields that are about thoughts.
            may_leave_out_tools: Whether the request would be answered without its tools.

        Raises:
            TaskNotSupported: It wants thoughts, the model never thinks, and that may not be left out.
        """
        may_ignore = exchange.settings.ignore_unusable_fields
        found = await self._thinking_models.without_effect(
            exchange, model, thinking, may_ignore=may_ignore, advice=_OR_IGNORE
        )
        wants_tools = may_leave_out_tools and may_ignore
        if wants_tools and not await self._tool_models.can(exchange, model):
            found.append("tools")
        return found
