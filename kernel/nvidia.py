"""The NVIDIA GPU that models may use, as its driver tells of it by NVML. Blocks; knows nothing of models.

NVML is asked only where there is a driver: importing its package takes longer than looking for a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol

# One of them is there with a driver: of Linux, of most containers, of Windows' Linux.
DRIVER_FILES = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"), Path("/dev/dxg"))
# A driver that hangs must not keep the kernel from starting; waking a sleeping GPU takes a second or two.
ANSWER_TIMEOUT_S = 10.0
# What `mlx[cuda13]` was built for; CUDA 13 knows no GPU older than Turing.
CUDA_VERSION = 13000
COMPUTE_CAPABILITY = (7, 5)
NO_DRIVER = "this machine has no NVIDIA driver"
DRIVER_HINT = "mlx needs CUDA 13, which came with driver 580"


class MemoryInfo(Protocol):
    """As NVML tells it, bytes."""

    total: int
    free: int
    used: int


class ProcessInfo(Protocol):
    """A process on the GPU, as NVML tells it."""

    pid: int
    # None where the driver does not say it.
    usedGpuMemory: int | None  # noqa: N815 - NVML's name


class Nvml(Protocol):
    """The part of package nvidia-ml-py that is used here; its own names."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: N802
    def nvmlSystemGetDriverVersion(self) -> str: ...  # noqa: N802
    def nvmlSystemGetCudaDriverVersion_v2(self) -> int: ...  # noqa: N802
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...  # noqa: N802
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object: ...  # noqa: N802
    def nvmlDeviceGetName(self, handle: object) -> str: ...  # noqa: N802
    def nvmlDeviceGetUUID(self, handle: object) -> str: ...  # noqa: N802
    def nvmlDeviceGetCudaComputeCapability(self, handle: object) -> Sequence[int]: ...  # noqa: N802
    def nvmlDeviceGetMemoryInfo(self, handle: object) -> MemoryInfo: ...  # noqa: N802
    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> Sequence[ProcessInfo]: ...  # noqa: N802


class Gpu:
    """One that mlx can use."""

    def __init__(self, nvml: Nvml, handle: object) -> None:
        self._nvml = nvml
        self._handle = handle
        self.name = nvml.nvmlDeviceGetName(handle)
        # What CUDA_VISIBLE_DEVICES takes: numbers mean another order to CUDA than to NVML.
        self.uuid = nvml.nvmlDeviceGetUUID(handle)
        memory = self.memory()
        # 0 where it has none of its own and takes the machine's.
        self.total_bytes = memory.total if memory else 0

    def memory(self) -> MemoryInfo | None:
        """Of the whole GPU; None where the driver does not say it, or does not answer any more."""
        try:
            return self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        except self._nvml.NVMLError:
            return None

    def process_bytes(self) -> dict[int, int]:
        """What each process has of it, as far as the driver says; pids may be those of the host."""
        try:
            found = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except self._nvml.NVMLError:
            return {}
        return {one.pid: one.usedGpuMemory for one in found if one.usedGpuMemory}


@dataclass(frozen=True, slots=True)
class Found:
    """What a look for a GPU brought."""

    gpu: Gpu | None = None
    # Why there is none to use.
    reason: str = ""


def find_gpu(environ: Mapping[str, str]) -> Found:
    """The GPU for models: the first that CUDA_VISIBLE_DEVICES names, else that with the most memory."""
    if not any(file.exists() for file in DRIVER_FILES):
        return Found(reason=NO_DRIVER)
    answers: SimpleQueue[Found] = SimpleQueue()

    def ask() -> None:
        try:
            import pynvml  # noqa: PLC0415 - only where there is a driver

            answers.put(choose(pynvml, environ.get("CUDA_VISIBLE_DEVICES")))
        except Exception as e:  # noqa: BLE001 - whatever a driver does wrong, models run on the CPU
            answers.put(Found(reason=f"NVIDIA's NVML: {type(e).__name__}: {e}"))

    Thread(target=ask, daemon=True, name="nvml").start()
    try:
        return answers.get(timeout=ANSWER_TIMEOUT_S)
    except Empty:
        return Found(reason=f"the NVIDIA driver did not answer in {ANSWER_TIMEOUT_S:.0f} s")


def choose(nvml: Nvml, visible: str | None) -> Found:
    """As `find_gpu`, of what *nvml* tells.

    Args:
        nvml: The package, or what stands for it.
        visible: CUDA_VISIBLE_DEVICES; None where it is not set.
    """
    try:
        nvml.nvmlInit()
        driver, cuda = nvml.nvmlSystemGetDriverVersion(), nvml.nvmlSystemGetCudaDriverVersion_v2()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        if not handles:
            return Found(reason=f"the NVIDIA driver {driver} knows no GPU")
        handle = _pick(nvml, handles, visible)
        if handle is None:
            return Found(reason=f"CUDA_VISIBLE_DEVICES, {visible!r}, names none of the {len(handles)} GPUs")
        gpu = Gpu(nvml, handle)
        capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
    except nvml.NVMLError as e:
        return Found(reason=f"NVIDIA's NVML: {e}")
    if cuda < CUDA_VERSION:
        has = f"{cuda // 1000}.{cuda % 1000 // 10}"
        return Found(reason=f"{gpu.name}: driver {driver} has CUDA {has}; {DRIVER_HINT}")
    if capability < COMPUTE_CAPABILITY:
        has, needs = (".".join(map(str, version)) for version in (capability, COMPUTE_CAPABILITY))
        return Found(reason=f"{gpu.name}: its compute capability is {has}; CUDA 13 begins at {needs}")
    return Found(gpu)


def _pick(nvml: Nvml, handles: Sequence[object], visible: str | None) -> object | None:
    if visible is None:
        memory = [nvml.nvmlDeviceGetMemoryInfo(handle).total if len(handles) > 1 else 0 for handle in handles]
        return handles[memory.index(max(memory))]
    first = visible.partition(",")[0].strip()
    if first.isdecimal():
        return handles[int(first)] if int(first) < len(handles) else None
    if first.startswith("MIG-"):
        return nvml.nvmlDeviceGetHandleByUUID(first)
    named = [handle for handle in handles if first and nvml.nvmlDeviceGetUUID(handle).startswith(first)]
    return named[0] if named else None
