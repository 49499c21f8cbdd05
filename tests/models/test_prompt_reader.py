"""On a CPU prompts are read beside the answers: those go on meanwhile, and nobody gets another text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workers.blas import find_openblas

# Takes OpenBLAS's buffers for two products at the same time, when nothing more can be had.
BUFFERS = """
import ctypes, resource, sys
from pathlib import Path
from workers.blas import preload_openblas
preload_openblas(sys.orig_argv)
from workers.generation.prompt_reader import PromptReader
reader = PromptReader()
allocate = ctypes.CDLL(None).blas_memory_alloc
allocate.restype = ctypes.c_void_p
num_pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (num_pages * resource.getpagesize(), -1))
buffers = [allocate(0) for _ in range(2)]
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print(len(set(buffers)))
reader.close()
"""
PROBE = Path(__file__).with_name("prompt_reader_probe.py")

pytestmark = [
    pytest.mark.models,
    pytest.mark.timeout(90),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is no processor to read beside on"),
]


@pytest.fixture(scope="module")
def told(text_python: str, tiny_llama: Path) -> Any:
    """What the probe told."""
    environment = {**os.environ, "PYTHONPATH": str(PROBE.parents[2])}
    done = subprocess.run(
        [text_python, "-P", str(PROBE), tiny_llama],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=80,
    )
    return json.loads(done.stdout)


def test_answers_go_on_while_a_prompt_is_read(told: Any) -> None:
    assert told["deltas of 10 steps"] == 10


def test_all_get_the_texts_that_they_get_alone(told: Any) -> None:
    assert told["together"] == told["alone"]


def test_what_is_read_is_told_when_it_is_read(told: Any) -> None:
    assert told["told while held"] == 0
    assert told["told"] == sorted(told["told"])
    assert told["told"][-1] == 300


def test_who_is_cancelled_while_it_is_read_leaves_alone(told: Any) -> None:
    assert told["cancelled"] == {"a-running": told["alone"]["a-running"], "b-reading": ["", "cancelled"]}


def test_what_cannot_be_read_costs_nobody_else(told: Any) -> None:
    assert told["failed"]["a-running"] == told["alone"]["a-running"]
    assert "it cannot be read" in told["failed"]["b-reading"][-1]


def test_reading_goes_on_when_the_others_have_ended(told: Any) -> None:
    assert told["left alone"] == told["alone"]


def test_with_the_setting_off_one_thread_does_all(told: Any) -> None:
    assert told["off"] == told["alone"]
    assert not told["came when off"]


@pytest.mark.skipif(sys.platform != "linux" or find_openblas() is None, reason="there is no OpenBLAS")
def test_two_threads_compute_when_there_is_no_memory(text_python: str) -> None:
    """OpenBLAS tries for ever to get a buffer, and the worker would hang."""
    done = subprocess.run(
        [text_python, "-P", "-c", BUFFERS],
        env={**os.environ, "PYTHONPATH": str(PROBE.parents[2])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=20,
    )

    assert done.stdout.split() == ["2"]
