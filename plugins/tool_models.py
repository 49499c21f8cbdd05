"""Which models call tools: asked where tools that nobody could call are left out."""

from __future__ import annotations

from plugins.image_models import MAX_KNOWN, KnowsModels


class ToolModels:
    """Remembers which models call tools: to ask costs a look at the disk."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    async def can_call(self, models: KnowsModels, model: str) -> bool:
        """Whether *model* calls tools, as far as its files say; one that nobody knows may.

        Args:
            models: Asked for them.
            model: As the request names it.
        """
        if model in self._known:
            return True
        infos = {info.name: info for info in await models.models()}
        if model in infos and "tools" not in infos[model].capabilities:
            return False
        if model in infos and len(self._known) < MAX_KNOWN:
            self._known.add(model)
        return True
