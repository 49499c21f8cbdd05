"""Our models as OpenAI's model objects, with what we know besides."""

from __future__ import annotations

from transports.reports import ModelInfo


def model_object(info: ModelInfo) -> dict[str, object]:
    """What stands in a list of models."""
    return {
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
        **({"alias_of": info.alias_of} if info.alias_of else {}),
    }


def _capabilities(info: ModelInfo) -> list[str]:
    """What a request may ask of it, for clients that show or hide things by that."""
    if not info.kind:
        return []
    return [*info.capabilities, *(["vision"] if "image" in info.modalities else [])]
