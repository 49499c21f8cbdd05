"""Which GPU is taken, and what is said where none can be: a driver as it might answer."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
from fake_nvml import GIB, FakeGpu, FakeMemory, FakeNvml

from kernel import nvidia
from kernel.nvidia import NO_DRIVER, Gpu, choose, find_gpu

SMALL = FakeGpu("Small", "GPU-small", FakeMemory(8 * GIB, 0))
LARGE = FakeGpu("Large", "GPU-large", FakeMemory(80 * GIB, 0))


def chosen(visible: str | None) -> str:
    found = choose(FakeNvml(SMALL, LARGE), visible)
    return found.gpu.uuid if found.gpu else found.reason


def test_the_largest_gpu_is_taken_where_nobody_says() -> None:
    assert chosen(None) == "GPU-large"


@pytest.mark.parametrize(
    ("visible", "uuid"),
    [("0", "GPU-small"), ("1,0", "GPU-large"), ("GPU-sm", "GPU-small"), ("MIG-1", "MIG-1")],
)
def test_the_first_that_is_named_is_taken(visible: str, uuid: str) -> None:
    assert chosen(visible) == uuid


@pytest.mark.parametrize("visible", ["", "-1", "2", "GPU-other", "none"])
def test_a_gpu_that_is_hidden_is_not_taken(visible: str) -> None:
    assert chosen(visible) == f"CUDA_VISIBLE_DEVICES, {visible!r}, names none of the 2 GPUs"


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [
        (FakeNvml(), "the NVIDIA driver 580.1 knows no GPU"),
        (
            FakeNvml(SMALL, cuda=12040),
            "Small: driver 580.1 has CUDA 12.4; mlx needs CUDA 13, which came with driver 580",
        ),
        (
            FakeNvml(FakeGpu("Old", capability=(6, 1))),
            "Old: its compute capability is 6.1; CUDA 13 begins at 7.5",
        ),
        (FakeNvml(SMALL, error="Driver/library mismatch"), "NVIDIA's NVML: Driver/library mismatch"),
    ],
)
def test_what_cannot_be_used_is_told(nvml: FakeNvml, reason: str) -> None:
    found = choose(nvml, None)

    assert (found.gpu, found.reason) == (None, reason)


def test_a_gpu_that_takes_the_machines_memory_has_none_of_its_own() -> None:
    found = choose(FakeNvml(FakeGpu(memory=None)), None)

    assert found.gpu
    assert (found.gpu.total_bytes, found.gpu.memory()) == (0, None)


def test_a_driver_that_answers_no_more_says_nothing() -> None:
    nvml = FakeNvml(LARGE)
    gpu = Gpu(nvml, LARGE)
    nvml.error = "GPU is lost"

    assert (gpu.memory(), gpu.process_bytes()) == (None, {})


def test_nvml_is_not_imported_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "DRIVER_FILES", (Path("/nowhere"),))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)

    assert find_gpu({}).reason == NO_DRIVER
    assert "pynvml" not in sys.modules


def test_a_driver_is_asked_for_the_gpu_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(nvidia, "DRIVER_FILES", (tmp_path,))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(SMALL, LARGE))

    found = find_gpu({"CUDA_VISIBLE_DEVICES": "0"})

    assert found.gpu
    assert found.gpu.name == "Small"


def test_a_package_that_fails_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nvidia, "DRIVER_FILES", (tmp_path,))
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace())

    assert find_gpu({}).reason.startswith("NVIDIA's NVML: AttributeError")


def test_a_driver_that_hangs_does_not_keep_the_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = Event()
    monkeypatch.setattr(nvidia, "DRIVER_FILES", (tmp_path,))
    monkeypatch.setattr(nvidia, "ANSWER_TIMEOUT_S", 0.01)
    hanging = SimpleNamespace(nvmlInit=answer.wait, NVMLError=ValueError)
    monkeypatch.setitem(sys.modules, "pynvml", hanging)

    assert find_gpu({}).reason == "the NVIDIA driver did not answer in 0 s"
    answer.set()
