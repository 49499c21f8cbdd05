"""Our models as OpenAI's model objects, with what we know besides."""

from __future__ import annotations

from plugins.openai.answer_types import ModelObject
from transports.reports import ModelInfo


def model_object(info: ModelInfo) -> ModelObject:
    """What stands in a list of models."""
    model: ModelObject = {
        "id": info.name,
        "object": "model",
        "created": info.created,
        "owned_by": "mlxd",
        "kind": info.kind,
        "modalities": info.modalities,
        "capabilities": _capabilities(info),
        "tasks": info.tasks,
        "state": info.state,
        "size_bytes": info.size_bytes,
        "context_length": info.context_length,
    }
    if info.alias_of:
        model["alias_of"] = info.alias_of
    return model


def _capabilities(info: ModelInfo) -> list[str]:
    """What a request may ask of it, for clients that show or hide things by that."""
    if not info.kind:
        return []
    return [*info.capabilities, *(["vision"] if "image" in info.modalities else [])]
