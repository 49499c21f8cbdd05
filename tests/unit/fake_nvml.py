"""A driver as NVML tells of it, without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

GIB = 1024**3


class FakeNVMLError(Exception):
    """What every function of NVML raises."""


@dataclass
class FakeMemory:
    """Bytes."""

    total: int
    used: int

    @property
    def free(self) -> int:
        return self.total - self.used


@dataclass
class FakeProcess:
    pid: int
    usedGpuMemory: int | None  # noqa: N815


@dataclass
class FakeGpu:
    name: str = "NVIDIA Test"
    uuid: str = "GPU-aaaa"
    memory: FakeMemory | None = field(default_factory=lambda: FakeMemory(80 * GIB, GIB))
    capability: tuple[int, int] = (9, 0)
    processes: list[FakeProcess] = field(default_factory=list)


class FakeNvml:
    """Fulfils `kernel.nvidia.Nvml`."""

    NVMLError = FakeNVMLError

    def __init__(self, *gpus: FakeGpu, cuda: int = 13000, error: str = "") -> None:
        self._gpus = gpus
        self._cuda = cuda
        # What every question is answered with, if not "".
        self.error = error

    def nvmlInit(self) -> None:  # noqa: N802
        self._check()

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.1"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return self._cuda

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        return self._gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object:  # noqa: N802
        return FakeGpu(uuid=uuid)

    def nvmlDeviceGetName(self, handle: object) -> str:  # noqa: N802
        return _gpu(handle).name

    def nvmlDeviceGetUUID(self, handle: object) -> str:  # noqa: N802
        return _gpu(handle).uuid

    def nvmlDeviceGetCudaComputeCapability(self, handle: object) -> Sequence[int]:  # noqa: N802
        return _gpu(handle).capability

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> FakeMemory:  # noqa: N802
        self._check()
        memory = _gpu(handle).memory
        if memory is None:
            raise FakeNVMLError("Not Supported")
        return memory

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> Sequence[FakeProcess]:  # noqa: N802
        self._check()
        return _gpu(handle).processes

    def _check(self) -> None:
        if self.error:
            raise FakeNVMLError(self.error)


def _gpu(handle: object) -> FakeGpu:
    assert isinstance(handle, FakeGpu)
    return handle
