"""An engine in the worker's own environment, for the tests that look into it without a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_host import Host, Job, Report, Run, Scenario
from tiny_llama import write_tiny_llama

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def host(text_python: str) -> Iterator[Host]:
    """One process for all tests: loading takes seconds."""
    host = Host(text_python, ROOT)
    yield host
    host.close()


@pytest.fixture
def run(host: Host, smollm2: Path) -> Run:
    """Run jobs on the default model; keyword arguments are fields of `Scenario`."""

    return _runner(host, path=str(smollm2))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    """The folder of a model that loads and answers in no time, in noise. Nobody changes it."""
    folder = tmp_path_factory.mktemp("tiny") / "llama"
    write_tiny_llama(folder, smollm2)
    return folder


@pytest.fixture
def babble(host: Host, tiny_llama: Path) -> Run:
    """As `run`, on that model: for all that has nothing to do with what is said."""
    return _runner(host, path=str(tiny_llama))


@pytest.fixture(scope="session")
def vision_host(vision_python: str) -> Iterator[Host]:
    """One process for all tests: loading takes seconds."""
    host = Host(vision_python, ROOT)
    yield host
    host.close()


@pytest.fixture
def look(vision_host: Host, tiny_vl: Path) -> Run:
    """Run jobs on the vision model; keyword arguments are fields of `Scenario`."""

    return _runner(vision_host, path=str(tiny_vl), kind="vision")


def _runner(host: Host, **defaults: str) -> Run:
    def run(*jobs: Job, **fields: object) -> Report:
        return host.run(Scenario(jobs=list(jobs), **(defaults | fields)))  # type: ignore[arg-type]

    return run
