"""All of one model, as `mlxd models show` prints it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from plugins.cli.output import duration, memory, print_fields, size
from transports.reports import ModelInfo, ModelReport

CHANGED = "changed on disk since it was loaded; the next load takes what is there now"


def print_report(report: ModelReport, aliases: Sequence[str] = ()) -> None:
    """Print names and values, one a line."""
    # One that was refused for it has failed with the same words.
    error = "" if report.model.error == report.refusal else report.model.error
    of_files = _of_files(report.model) | {"aliases": ", ".join(aliases)}
    print_fields({**of_files, **_of_memory(report), "error": error})


def modalities(model: ModelInfo) -> str:
    """What a request may hold: "text, image"."""
    return ", ".join(model.modalities) if model.kind else ""


def _of_files(model: ModelInfo) -> dict[str, str]:
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(model.created)) if model.created else ""
    return {
        "name": model.name,
        "kind": model.kind or "none: no worker kind serves it",
        "takes": modalities(model),
        "does": ", ".join(model.tasks),
        "state": f"{model.state}, {CHANGED}" if model.is_changed else model.state,
        "source": model.source,
        "path": model.path,
        "size": size(model.size_bytes) if model.size_bytes else "",
        "context": f"{model.context_length} tokens" if model.context_length else "",
        "created": made,
    }


def _of_memory(report: ModelReport) -> dict[str, str]:
    estimate = report.estimate
    if estimate is None:
        return {}
    sequence = f", one sequence has up to {estimate.context_tokens} tokens" if estimate.context_tokens else ""
    idle_s = report.idle_unload_s
    leaves = "never when idle" if idle_s is None else f"after {duration(idle_s)} without requests"
    defaults = {name: getattr(report.defaults, name) for name in report.defaults.__struct_fields__}
    return {
        "memory": memory(report.memory_bytes, report.gpu_memory_bytes),
        "estimate": size(estimate.total_bytes),
        "  weights": size(estimate.weights_bytes) if estimate.weights_bytes else "",
        "  keys, values": f"{size(estimate.kv_bytes)}{sequence}" if estimate.kv_bytes else "",
        "  pictures": size(estimate.images_bytes) if estimate.images_bytes else "",
        "  engine": size(estimate.overhead_bytes),
        "does not fit": report.refusal,
        "leaves": "only when it is unloaded: it is pinned" if report.is_pinned else leaves,
        "settings": _pairs(report.settings),
        "defaults": _pairs({name: value for name, value in defaults.items() if value is not None}),
    }


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
