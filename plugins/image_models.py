"""Which models take images: asked before a picture is fetched or decoded and before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from transports.errors import ModelNotFound, TaskNotSupported
from transports.reports import ModelInfo

# Models named in an error.
MAX_NAMED = 10
# Names kept; there are far fewer models that take images.
MAX_KNOWN = 1024


class KnowsModels(Protocol):
    """Who is asked: the kernel's client, or what leaves out some of its models."""

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models that may be used."""
        ...


class ImageModels:
    """Remembers which models take images: to ask costs a look at the disk.

    One that took them yesterday and does not today refuses them itself, in its worker.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    async def check(self, models: KnowsModels, model: str, param: str) -> None:
        """As `check_takes_images`, asking only for models that were not let through before."""
        if model in self._known:
            return
        await check_takes_images(models, model, param)
        if len(self._known) < MAX_KNOWN:
            self._known.add(model)


async def check_takes_images(models: KnowsModels, model: str, param: str) -> None:
    """See that *model* can look at pictures.

    Args:
        models: Asked for them.
        model: As the request names it.
        param: Where the first picture stands in the request.

    Raises:
        TaskNotSupported: It takes text only; the message names models that take images.
        ModelNotFound: There is no such model.
    """
    infos = await models.models()
    known = {info.name: info for info in infos}
    if model not in known:
        raise ModelNotFound(f"model: {model!r} is not here; {_advice(infos)}", param="model")
    # A broken model fails for its own reason, which the kernel knows.
    if known[model].kind and "image" not in known[model].modalities:
        raise TaskNotSupported(f"{param}: {model} takes text only; {_advice(infos)}", param=param)


def _advice(infos: Sequence[ModelInfo]) -> str:
    names = [info.name for info in infos if info.kind and "image" in info.modalities]
    if not names:
        return "no model here takes images"
    more = ", ..." if len(names) > MAX_NAMED else ""
    return f"models here that take images: {', '.join(names[:MAX_NAMED])}{more}"
