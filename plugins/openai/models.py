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
        "state": info.state,
        "size_bytes": info.size_bytes,
        "context_length": info.context_length,
        **({"alias_of": info.alias_of} if info.alias_of else {}),
    }
