"""Which lock, environment and memory count for a kind, by its device and what the driver says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_nvml import GIB, FakeGpu, FakeNvml

from kernel.actions import Spawn
from kernel.commands import Launcher
from kernel.devices import CUDA_BYTES, Placed, budget_bytes, facts_of, place
from kernel.environment_build import MARKER
from kernel.environments import Environments
from kernel.isolation import LinkDirs
from kernel.memory import gpu_budget_of
from kernel.nvidia import Found, Gpu
from kernel.worker_kinds import WorkerKinds
from transports.errors import EnvironmentFailed
from transports.settings import EmbeddingSettings, Settings, TextSettings, VisionSettings

GPU = Gpu(FakeNvml(gpu := FakeGpu()), gpu)
HERE, NOT_HERE = Found(GPU), Found(reason="this machine has no NVIDIA driver")
KINDS = WorkerKinds.installed()


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")


def placed(device: str, found: Found) -> Placed:
    return place(KINDS, Settings(text=TextSettings(device=device)), lambda: found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "found", "label"),
    [
        ("auto", HERE, "text-cuda"),
        ("gpu", HERE, "text-cuda"),
        ("cpu", HERE, "text"),
        ("auto", NOT_HERE, "text"),
        ("cpu", NOT_HERE, "text"),
    ],
)
def test_the_device_says_which_lock_counts(device: str, found: Found, label: str) -> None:
    kind = placed(device, found).kinds["text"]

    assert kind.label == label
    assert (kind.lock == kind.cuda_lock) == (kind.gpu_uuid == GPU.uuid) == (label == "text-cuda")
    assert kind.refusal == ""


def test_a_gpu_that_is_wanted_and_not_there_is_a_refusal_that_says_what_was_found() -> None:
    kind = placed("gpu", NOT_HERE).kinds["text"]

    said = 'text.device: expected "cpu" or "auto", got "gpu": this machine has no NVIDIA driver'
    assert kind.refusal == said
    assert placed("gpu", NOT_HERE).kinds["vision"].refusal == ""


async def test_a_refused_kind_builds_nothing_and_is_listed_with_its_reason(tmp_path: Path) -> None:
    kinds = placed("gpu", NOT_HERE).kinds
    environments = Environments(tmp_path, kinds, LinkDirs(tmp_path / "run"))

    with pytest.raises(EnvironmentFailed, match=r"text\.device: expected"):
        await environments.ensure("text", lambda _: None)
    with pytest.raises(EnvironmentFailed, match=r"text\.device: expected"):
        await environments.sync("text", lambda _: None)
    listed = {one.kind: one for one in environments.list()}
    assert (listed["text"].state, listed["text"].error) == ("missing", kinds["text"].refusal)
    assert listed["vision"].error == ""


def test_without_a_gpu_environments_keep_their_names(tmp_path: Path) -> None:
    """Those that were built before there were locks for CUDA stay in use."""
    environments = Environments(tmp_path, placed("auto", NOT_HERE).kinds, LinkDirs(tmp_path / "run"))
    before = Environments(tmp_path, KINDS, LinkDirs(tmp_path / "run"))

    assert environments.list() == before.list()
    assert {one.name.rpartition("-")[0] for one in before.list()} == {"text", "vision", "embedding"}


def test_the_environments_of_both_devices_are_told_apart(tmp_path: Path) -> None:
    on_cpu = Environments(tmp_path, placed("cpu", HERE).kinds, LinkDirs(tmp_path / "run"))
    on_gpu = Environments(tmp_path, placed("auto", HERE).kinds, LinkDirs(tmp_path / "run"))
    left = next(one for one in on_cpu.list() if one.kind == "text")
    Path(left.path).mkdir(parents=True)

    states = [(one.kind, one.state) for one in on_gpu.list() if one.name.startswith("text")]

    assert states == [("text", "missing"), ("text", "stale")]


def test_nobody_looks_for_a_gpu_that_no_kind_may_use() -> None:
    settings = Settings(
        text=TextSettings(device="cpu"),
        vision=VisionSettings(device="cpu"),
        embedding=EmbeddingSettings(device="cpu"),
    )

    assert place(KINDS, settings, pytest.fail).kinds is KINDS


def test_a_mac_has_one_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert placed("gpu", HERE).kinds is KINDS
    assert facts_of(KINDS["text"], Settings()).is_on_gpu
    assert not facts_of(KINDS["text"], Settings(text=TextSettings(device="cpu"))).is_on_gpu


def test_on_a_gpu_weights_stay_as_they_are_and_cuda_takes_its_share() -> None:
    on_gpu, on_cpu = (facts_of(placed("auto", found).kinds["text"], Settings()) for found in (HERE, NOT_HERE))

    assert (on_gpu.is_on_gpu, on_cpu.is_on_gpu) == (True, False)
    assert on_gpu.overhead_bytes == on_cpu.overhead_bytes + CUDA_BYTES


def test_the_budget_is_of_the_memory_that_models_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel.devices.machine_bytes", lambda: 16 * GIB)
    shared = Gpu(FakeNvml(one := FakeGpu(memory=None)), one)

    assert budget_bytes(GPU) == 76 * GIB
    assert budget_bytes(None) == budget_bytes(shared) == 12 * GIB


@pytest.mark.parametrize(("memory_gib", "budget_gib"), [(80, 76), (24, 22.8), (8, 7), (1, 0.5)])
def test_a_gpu_keeps_a_part_to_itself(memory_gib: int, budget_gib: float) -> None:
    assert gpu_budget_of(memory_gib * GIB) == pytest.approx(budget_gib * GIB, abs=1)


@pytest.mark.parametrize("kind", ["text", "vision", "embedding"])
def test_the_locks_for_cuda_have_hashes_no_addresses_and_the_same_versions(kind: str) -> None:
    cpu, cuda = KINDS[kind].lock, KINDS[kind].cuda_lock
    assert cpu
    assert cuda
    cpu_pins, cuda_pins = (
        {line.split()[0] for line in lock.read_text().splitlines() if line[:1].isalnum()}
        for lock in (cpu, cuda)
    )

    assert cpu_pins - cuda_pins == {pin for pin in cpu_pins if pin.startswith("mlx-cpu==")} != set()
    assert all(pin.startswith(("mlx-cuda-13==", "nvidia-")) for pin in cuda_pins - cpu_pins)
    assert "--hash=sha256:" in cuda.read_text()
    assert not [word for word in ("://", "--index", "--find-links", "file:") if word in cuda.read_text()]


def test_a_worker_gets_its_gpu_and_keeps_what_mlx_compiled_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLX_PTX_CACHE_DIR", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")

    def env(found: Found) -> dict[str, str]:
        kinds = placed("auto", found).kinds
        environments = Environments(tmp_path, kinds, LinkDirs(tmp_path / "run"))
        listed = next(one for one in environments.list() if one.kind == "text")
        (Path(listed.path) / "bin").mkdir(parents=True)
        (Path(listed.path) / "bin/python").touch()
        (Path(listed.path) / MARKER).touch()
        launcher = Launcher(tmp_path, Settings(), environments, "ipc://x", tmp_path, kinds, "1")
        launch = launcher.launch(Spawn(name="text:m", role="worker", kind="text", model="m", token="t"))
        assert Path(launch.command[0]).parent.parent == Path(listed.path)
        return launch.env

    on_gpu, on_cpu = env(HERE), env(NOT_HERE)
    assert on_gpu["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa"
    assert Path(on_gpu["MLX_PTX_CACHE_DIR"]).name == "cuda-cache"
    assert Path(on_gpu["MLX_PTX_CACHE_DIR"]).parent.parent == tmp_path / "envs"
    assert on_cpu["CUDA_VISIBLE_DEVICES"] == "3"
    assert "MLX_PTX_CACHE_DIR" not in on_cpu
