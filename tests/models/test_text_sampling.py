"""The sampler draws what its parameters say, and each row by itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.models, pytest.mark.timeout(120)]

PROBABILITIES = [0.4, 0.3, 0.2, 0.07, 0.03]
NUM_DRAWS = 4000

Row = tuple[dict[str, object], int]
Draw = Callable[[list[Row]], list[int]]


@pytest.fixture(scope="module")
def draw(text_python: str) -> Iterator[Draw]:
    """Draw a token for each (sampling, position), all in one batch."""
    probe = Path(__file__).with_name("sampling_probe.py")
    process = subprocess.Popen(
        [text_python, "-P", str(probe)],
        env={**os.environ, "PYTHONPATH": str(probe.parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def draw(rows: list[Row]) -> list[int]:
        assert process.stdin is not None
        assert process.stdout is not None
        logits = [math.log(probability) for probability in PROBABILITIES]
        process.stdin.write(json.dumps({"logits": logits, "rows": rows}) + "\n")
        process.stdin.flush()
        tokens: list[int] = json.loads(process.stdout.readline())
        return tokens

    yield draw
    process.communicate(timeout=30)


def shares(draw: Draw, **sampling: object) -> list[float]:
    """How often each token is drawn by one seed at many places."""
    tokens = draw([({"temperature": 1, "seed": 1, **sampling}, position) for position in range(NUM_DRAWS)])
    counts = Counter(tokens)
    return [counts[token] / NUM_DRAWS for token in range(len(PROBABILITIES))]


def normal(*weights: float) -> list[float]:
    return [weight / sum(weights) for weight in weights]


EXPECTED: dict[str, tuple[dict[str, object], list[float]]] = {
    "temperature 1": ({}, PROBABILITIES),
    "temperature 0": ({"temperature": 0}, [1, 0, 0, 0, 0]),
    "temperature 2": ({"temperature": 2}, normal(*(p**0.5 for p in PROBABILITIES))),
    "top_k": ({"top_k": 2}, normal(0.4, 0.3, 0, 0, 0)),
    "top_p cuts": ({"top_p": 0.69}, normal(0.4, 0.3, 0, 0, 0)),
    "top_p keeps the token that reaches it": ({"top_p": 0.75}, normal(0.4, 0.3, 0.2, 0, 0)),
    # 0.4 / 0.9 < 0.6 < 0.7 / 0.9: top_p counts what top_k left.
    "top_p after top_k": ({"top_k": 3, "top_p": 0.6}, normal(0.4, 0.3, 0, 0, 0)),
    # At temperature 0.5 the first token alone has 0.53.
    "top_p after temperature": ({"temperature": 0.5, "top_p": 0.5}, [1, 0, 0, 0, 0]),
    "min_p": ({"min_p": 0.4}, normal(0.4, 0.3, 0.2, 0, 0)),
    "xtc": ({"xtc_probability": 1, "xtc_threshold": 0.1}, normal(0, 0, 0.2, 0.07, 0.03)),
    "xtc acts on two at least": ({"xtc_probability": 1, "xtc_threshold": 0.35}, PROBABILITIES),
    "xtc half of the time": (
        {"xtc_probability": 0.5, "xtc_threshold": 0.1},
        [(a + b) / 2 for a, b in zip(PROBABILITIES, normal(0, 0, 0.2, 0.07, 0.03), strict=True)],
    ),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_tokens_come_as_often_as_they_should(draw: Draw, case: str) -> None:
    """Within five standard deviations; the seed is fixed, so the outcome is too."""
    sampling, expected = EXPECTED[case]

    found = shares(draw, **sampling)

    for share, probability in zip(found, expected, strict=True):
        deviation = math.sqrt(probability * (1 - probability) / NUM_DRAWS)
        assert abs(share - probability) <= 5 * deviation + 1e-6


def test_rows_of_a_batch_draw_as_they_do_alone(draw: Draw) -> None:
    rows: list[Row] = [
        ({**sampling, "seed": seed}, position)
        for seed, (sampling, _) in enumerate(EXPECTED.values())
        for position in (0, 5)
    ]

    together = draw(rows)

    assert together == [draw([row])[0] for row in rows]


def test_seeds_and_places_draw_apart(draw: Draw) -> None:
    """Two seeds agree as often as chance has it: the sum of the squares of the probabilities."""
    first, second = (
        draw([({"temperature": 1, "seed": seed}, position) for position in range(NUM_DRAWS)])
        for seed in (1, 2)
    )

    agreement = sum(a == b for a, b in zip(first, second, strict=True)) / NUM_DRAWS

    assert agreement == pytest.approx(sum(p * p for p in PROBABILITIES), abs=0.05)
