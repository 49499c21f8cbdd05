"""The limit of open files is raised, and never lowered."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

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
