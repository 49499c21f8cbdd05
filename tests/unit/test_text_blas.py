"""OpenBLAS is put in front once, and only where mlx computes on a Linux CPU."""

from __future__ import annotations

import os
import sys

import pytest

from workers import blas


class Executed(Exception):
    """Stands for the process that would take over."""


@pytest.fixture
def linux_cpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A worker's environment on Linux with OpenBLAS on the system; its variables."""
    environment = {"HOME": "/home/x"}
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(blas, "mlx_uses_cpu", lambda: True)
    monkeypatch.setattr(blas, "openblas_is_loaded", lambda: False)
    monkeypatch.setattr(blas, "find_openblas", lambda: "/lib/libopenblas.so.0")

    def execve(path: str, argv: list[str], env: dict[str, str]) -> None:
        raise Executed(path, argv, env)

    monkeypatch.setattr(os, "execve", execve)
    return environment


def test_the_process_starts_again_with_openblas_first(linux_cpu: dict[str, str]) -> None:
    linux_cpu["LD_PRELOAD"] = "/lib/other.so"

    with pytest.raises(Executed) as caught:
        blas.preload_openblas(["python", "-P", "-m", "workers"])

    path, argv, env = caught.value.args
    assert (path, argv) == (sys.executable, [sys.executable, "-P", "-m", "workers"])
    assert env["LD_PRELOAD"] == "/lib/libopenblas.so.0:/lib/other.so"
    assert env["OPENBLAS_NUM_THREADS"] == "1"
    assert env["HOME"] == "/home/x"


def test_it_is_tried_once(linux_cpu: dict[str, str]) -> None:
    """A library that the loader cannot load must not start the process for ever."""
    with pytest.raises(Executed) as caught:
        blas.preload_openblas(["python"])
    linux_cpu.update(caught.value.args[2])

    blas.preload_openblas(["python"])


def test_a_number_of_threads_that_was_set_stays(linux_cpu: dict[str, str]) -> None:
    linux_cpu["OPENBLAS_NUM_THREADS"] = "4"

    with pytest.raises(Executed) as caught:
        blas.preload_openblas(["python"])

    assert caught.value.args[2]["OPENBLAS_NUM_THREADS"] == "4"


@pytest.mark.usefixtures("linux_cpu")
@pytest.mark.parametrize(
    ("name", "value"),
    [("openblas_is_loaded", True), ("mlx_uses_cpu", False), ("find_openblas", None)],
)
def test_nothing_happens_where_it_would_not_help(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(blas, name, lambda: value)

    blas.preload_openblas(["python"])


@pytest.mark.usefixtures("linux_cpu")
def test_nothing_happens_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    blas.preload_openblas(["python"])
