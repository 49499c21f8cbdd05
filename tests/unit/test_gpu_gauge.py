"""What processes have of a GPU: as the driver says, and where it does not, by what changed."""

from __future__ import annotations

import sys
from threading import Event, Thread

import pytest
from fake_nvml import GIB, FakeGpu, FakeMemory, FakeNvml, FakeProcess

from kernel import gpu_gauge
from kernel.gauge import Gauge
from kernel.gpu_gauge import GpuGauge, GpuReading
from kernel.nvidia import Gpu


class Machine:
    """A GPU whose memory others use too."""

    def __init__(self) -> None:
        self.memory = FakeMemory(80 * GIB, 2 * GIB)
        self.gpu = FakeGpu(memory=self.memory)
        self.nvml = FakeNvml(self.gpu)
        self.gauge = GpuGauge(Gpu(self.nvml, self.gpu))

    def measured(self, used_gib: int, *pids: int) -> dict[int, int]:
        self.memory.used = used_gib * GIB
        return {pid: num_bytes // GIB for pid, num_bytes in self.gauge.measure(pids).memory_bytes.items()}


def test_the_driver_says_what_our_processes_have() -> None:
    machine = Machine()
    machine.gpu.processes = [FakeProcess(7, 3 * GIB), FakeProcess(8, None), FakeProcess(9, GIB)]

    found = machine.gauge.measure((7, 8))

    assert found == GpuReading({7: 3 * GIB}, free_bytes=78 * GIB)


def test_a_hidden_worker_has_what_the_gpu_has_more_than_before_it() -> None:
    machine = Machine()
    machine.gpu.processes = [FakeProcess(40_007, 5 * GIB)]

    assert machine.measured(2) == {}
    assert machine.measured(2, 7) == {}
    assert machine.measured(7, 7) == {7: 5}
    # The youngest grows, and shrinks again.
    assert machine.measured(10, 7, 8) == {7: 5, 8: 3}
    assert machine.measured(9, 7, 8) == {7: 5, 8: 2}
    # What a worker had goes with it.
    assert machine.measured(4, 8) == {8: 2}
    assert machine.measured(2) == {}


def test_what_others_free_leaves_a_hidden_worker_nothing_less_than_nothing() -> None:
    machine = Machine()
    machine.measured(9)
    machine.measured(10, 7)

    assert machine.measured(1, 7) == {}


def test_once_one_was_told_none_is_guessed() -> None:
    machine = Machine()
    machine.measured(2)
    assert machine.measured(3, 7) == {7: 1}
    machine.gpu.processes = [FakeProcess(7, 4 * GIB)]

    assert machine.measured(6, 7) == {7: 4}
    assert machine.measured(60, 7, 8) == {7: 4}


def test_a_driver_that_hangs_keeps_one_thread_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    is_asked, goes_on = Event(), Event()

    def hang(handle: object) -> FakeMemory:
        is_asked.set()
        goes_on.wait(5)
        return machine.memory

    monkeypatch.setattr(gpu_gauge, "MAX_WAIT_S", 0.01)
    monkeypatch.setattr(machine.nvml, "nvmlDeviceGetMemoryInfo", hang)
    first = Thread(target=machine.gauge.measure, args=((),))
    first.start()
    is_asked.wait(5)

    assert machine.gauge.measure(()) == GpuReading()
    goes_on.set()
    first.join()
    assert machine.gauge.measure(()).free_bytes == 78 * GIB


def test_a_driver_that_answers_no_more_leaves_the_rest_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    machine = Machine()
    machine.gpu.processes = [FakeProcess(1, GIB)]
    gauge = Gauge(machine.gauge)
    before = gauge.measure([1], [1])
    machine.nvml.error = "GPU is lost"

    after = gauge.measure([1], [1])

    assert (before.gpu_bytes, before.gpu_free_bytes) == ({1: GIB}, 78 * GIB)
    assert (after.gpu_bytes, after.gpu_free_bytes) == ({}, None)
    assert after.memory_bytes[0]
