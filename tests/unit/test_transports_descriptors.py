"""The limit of open files is raised, and never lowered."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from transports.descriptors import allow_descriptors

PROGRAM = """
import resource, sys
from transports.descriptors import allow_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
allow_descriptors(int(sys.argv[3]))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
HARD = 512


@pytest.mark.skipif(
    0 < resource.getrlimit(resource.RLIMIT_NOFILE)[1] < HARD, reason="the limit here is too low to test with"
)
@pytest.mark.parametrize(
    ("soft", "wanted", "expected"), [(64, 300, 300), (64, 100_000, HARD), (200, 100, 200)]
)
def test_the_limit_is_raised_as_far_as_allowed(soft: int, wanted: int, expected: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(soft), str(HARD), str(wanted)]

    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout

    assert int(said) == expected


def test_half_is_tried_where_the_system_refuses_what_it_calls_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """macOS has a limit besides the hard one."""
    limits = [256, resource.RLIM_INFINITY]

    def setrlimit(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > 10_240:
            raise ValueError("not allowed to raise maximum limit")
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)

    allow_descriptors(16_000)

    assert limits == [8_000, resource.RLIM_INFINITY]
