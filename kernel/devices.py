"""On which device each worker kind computes, by its `device` setting, its locks and what the driver says.

And what that means for the memory of its models.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from kernel.gauge import gpu_bytes, machine_bytes
from kernel.memory import KindFacts, budget_of, gpu_budget_of
from kernel.nvidia import Found, Gpu
from kernel.worker_kinds import WorkerKind, WorkerKinds, settings_of
from transports.settings import MIB, Settings

# What a worker takes of a GPU's memory for CUDA itself, besides what its kind declares.
CUDA_BYTES = 512 * MIB


@dataclass(frozen=True, slots=True)
class Placed:
    """The kinds, each with the lock that counts here."""

    kinds: WorkerKinds
    # What some of them compute on; None: none does.
    gpu: Gpu | None = None
    # Why none does; "" where nobody looked.
    reason: str = ""


def place(kinds: WorkerKinds, settings: Settings, find: Callable[[], Found]) -> Placed:
    """Say of each kind that has a lock for CUDA whether that counts.

    `device` "auto" takes a GPU where there is one, "cpu" never; with "gpu" and none the kind is refused.

    Args:
        kinds: As they were declared.
        settings: All.
        find: Looks for the GPU; called once, and only if a kind may use it.
    """
    if sys.platform != "linux":
        return Placed(kinds)
    wanted = {
        kind.name: device
        for kind in kinds
        if kind.cuda_lock and (device := settings_of(kind, settings).get("device", "auto")) != "cpu"
    }
    if not wanted:
        return Placed(kinds)
    found = find()

    def placed(kind: WorkerKind) -> WorkerKind:
        if kind.name in wanted and found.gpu:
            return replace(kind, lock=kind.cuda_lock, gpu_uuid=found.gpu.uuid)
        if wanted.get(kind.name) == "gpu":
            refusal = f'{kind.name}.device: expected "cpu" or "auto", got "gpu": {found.reason}'
            return replace(kind, lock=kind.cuda_lock, refusal=refusal)
        return kind

    known = WorkerKinds({kind.name: placed(kind) for kind in kinds}, kinds.broken)
    return Placed(known, found.gpu, found.reason)


def facts_of(kind: WorkerKind, settings: Settings) -> KindFacts:
    """What *kind* means for the memory of its models."""
    given = settings_of(kind, settings)
    return KindFacts(
        settings=given,
        overhead_bytes=kind.declared.overhead_bytes + (CUDA_BYTES if kind.gpu_uuid else 0),
        takes_images="image" in kind.declared.modalities,
        is_on_gpu=bool(kind.gpu_uuid) or (sys.platform == "darwin" and given.get("device") != "cpu"),
    )


def budget_bytes(gpu: Gpu | None) -> int:
    """What all models may have: of the GPU's memory where it has its own, else of the machine's."""
    if gpu and gpu.total_bytes:
        return gpu_budget_of(gpu.total_bytes)
    memory_bytes = machine_bytes()
    return budget_of(memory_bytes, gpu_bytes(memory_bytes))
