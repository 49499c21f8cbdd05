"""Which models think: asked where a request is about thoughts, before its model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plugins.capable_models import CapableModels
from plugins.image_models import KnowsModels
from transports.errors import TaskNotSupported
from transports.messages import ChatRequest

# A model that never thinks obeys these.
NO_EFFORTS = frozenset({None, "none", "minimal"})


class ThinkingFields(NamedTuple):
    """The fields of a request that have its model think, by their paths."""

    # They want thoughts; one that never thinks cannot obey.
    wanting: Sequence[str] = ()
    # They say how long it may think; to have no thoughts is to keep to it.
    allowing: Sequence[str] = ()


NO_THINKING_FIELDS = ThinkingFields()


class ThinkingModels:
    """Remembers which models think."""

    def __init__(self) -> None:
        self._models = CapableModels("reasoning")

    async def without_effect(
        self, models: KnowsModels, model: str, fields: ThinkingFields, *, may_ignore: bool, advice: str = ""
    ) -> list[str]:
        """Those of *fields* that mean nothing to *model*.

        Args:
            models: Asked for them.
            model: As the request names it.
            fields: Of the request.
            may_ignore: Whether fields that want thoughts are left without effect, too.
            advice: What would do besides.

        Raises:
            TaskNotSupported: A field wants thoughts, and the model never thinks.
        """
        if not any(fields) or await self._models.can(models, model):
            return []
        if fields.wanting and not may_ignore:
            param = fields.wanting[0]
            raise TaskNotSupported(
                f"{param}: {model} never thinks; leave it out, or take a model that does{advice}", param=param
            )
        return [*fields.wanting, *fields.allowing]


async def check_thinks(models: KnowsModels, model: str, request: ChatRequest) -> None:
    """See that *model* thinks where an effort of *request* wants it to.

    Args:
        models: Asked for those that do.
        model: As the request names it.
        request: For the model.

    Raises:
        TaskNotSupported: It never thinks.
    """
    effort = request.reasoning.effort
    wanting = () if effort in NO_EFFORTS else ("reasoning_effort",)
    await ThinkingModels().without_effect(models, model, ThinkingFields(wanting), may_ignore=False)
