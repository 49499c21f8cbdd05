"""demo/tiny-vl: its README is about its weights, and its training pictures show what the answers say."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from random import Random

import pytest

from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.questions import QUESTIONS
from workers.vision.tiny_vl.training.scorecards import ScorecardScene
from workers.vision.tiny_vl.training.shapes import ShapesScene
from workers.vision.tiny_vl.training.writing import TextScene

FOLDER = Path(__file__).parents[2] / "workers/vision/tiny_vl"
MAX_WEIGHTS_BYTES = 20 * 1000 * 1000


def test_the_weights_are_those_that_were_measured() -> None:
    """New weights need new figures."""
    weights = (FOLDER / "model/model.safetensors").read_bytes()

    assert len(weights) < MAX_WEIGHTS_BYTES
    assert hashlib.sha256(weights).hexdigest() in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("kind", ["color", "shape", "count"])
def test_the_measured_accuracy_is_high_enough(kind: str) -> None:
    readme = (FOLDER / "README.md").read_text()

    (right, asked) = re.search(rf"\| {kind} \| (\d+) \| (\d+) \|", readme).groups()  # type: ignore[union-attr]
    assert int(right) / int(asked) >= 0.95


@pytest.mark.parametrize("seed", range(40))
def test_every_shape_of_the_answers_is_in_the_picture(seed: int) -> None:
    rng = Random(seed)
    scene = ShapesScene(rng)
    image = scene.render(rng, 224, 168)

    colors = {color for _, color in image.getcolors(maxcolors=224 * 168) or []}
    assert {item.rgb for item in scene.items} <= colors
    counted = {turn.answer for turn in scene.turns(rng) if turn.question in QUESTIONS["count"]}
    assert counted == {str(scene.count)}


def test_a_scorecards_answers_agree_with_its_rows() -> None:
    rng = Random(1)
    scene = ScorecardScene(rng, Fonts())

    answers = {turn.question: turn.answer for _ in range(20) for turn in scene.turns(rng)}
    by_label = {row.label: row for row in scene.rows}
    assert json.loads(answers["Return JSON."]) == {
        "kind": "scorecard",
        "rows": [{"label": row.label, "value": row.value, "status": row.status} for row in scene.rows],
    }
    for label, row in by_label.items():
        assert answers.get(f"What is the {label} value?", row.value) == row.value


def test_a_seed_draws_the_same_picture_again() -> None:
    def drawn(seed: int) -> bytes:
        rng = Random(seed)
        return TextScene(rng, "word", Fonts()).render(rng, 200, 100).tobytes()

    assert drawn(3) == drawn(3) != drawn(4)
