"""Which models can do something: asked where a request wants what its model may not be able to."""

from __future__ import annotations

from plugins.image_models import MAX_KNOWN, KnowsModels
from transports.reports import Capability


class CapableModels:
    """Remembers which models are capable of something: to ask costs a look at the disk."""

    def __init__(self, capability: Capability) -> None:
        self._capability = capability
        self._known: set[str] = set()

    async def can(self, models: KnowsModels, model: str) -> bool:
        """Whether *model* is, as far as its files say; one that nobody knows, or that is broken, may be.

        Args:
            models: Asked for them.
            model: As the request names it.
        """
        if model in self._known:
            return True
        info = {info.name: info for info in await models.models()}.get(model)
        if info is None or not info.kind:
            # A broken model fails for its own reason, which the kernel knows.
            return True
        if self._capability not in info.capabilities:
            return False
        if len(self._known) < MAX_KNOWN:
            self._known.add(model)
        return True
