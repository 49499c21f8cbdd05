"""Which models stay in memory, and how long the others stay without requests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from transports.settings import KernelSettings, ModelOptions


class Retention:
    """Pins and idle times. Knows nothing of what is in memory."""

    def __init__(
        self, settings: KernelSettings, options: Mapping[str, ModelOptions], pinned: Iterable[str]
    ) -> None:
        self._settings = settings
        self._options = options
        self._pinned = {name for name, of_model in options.items() if of_model.pinned} | set(pinned)

    def is_pinned(self, model: str) -> bool:
        """Whether only an administrator takes it out of memory."""
        return model in self._pinned

    def pin(self, model: str) -> None:
        """Keep *model* once it is in memory."""
        self._pinned.add(model)

    def unpin(self, model: str) -> None:
        """*model* makes room again, and leaves when it is idle."""
        self._pinned.discard(model)

    def idle_s(self, model: str, keep_alive_s: float | None) -> float:
        """How long *model* may be without requests; infinity is for ever.

        Args:
            model: Its name.
            keep_alive_s: What the last request that said so wished; below 0 is for ever.
        """
        if self.is_pinned(model):
            return math.inf
        if keep_alive_s is not None:
            return keep_alive_s if keep_alive_s >= 0 else math.inf
        options = self._options.get(model)
        of_model = options.idle_unload_s if options else None
        return (self._settings.idle_unload_s if of_model is None else of_model) or math.inf
