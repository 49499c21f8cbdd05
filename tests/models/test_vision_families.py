"""Families of vision models besides demo/tiny-vl's, as small ones with random weights.

What they say means nothing; it must be what mlx-vlm says, token for token, in a batch and read in chunks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pictures
import pytest
from engine_host import Run
from vision_jobs import engine_tokens, job, library_tokens, run_script

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

CIRCLE = pictures.shapes(("red", "circle"))
CARD = pictures.scorecard(("Budget", "42", "green"), ("Quality", "17", "red"))
ASKED = [[CIRCLE, "What is it?"], [CARD, CIRCLE, "And these two?"], [CARD, "?"], ["Hello"]]


FAMILIES = ["qwen2_vl", "qwen3_vl", "idefics3", "smolvlm", "gemma3"]


@pytest.fixture(scope="module")
def families(
    vision_python: str, tiny_vl: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, list[dict[str, Any]]]]:
    """Family -> its model's folder, and what mlx-vlm says."""
    folder = tmp_path_factory.mktemp("families")
    run_script(vision_python, "vision_families.py", tiny_vl, folder, *FAMILIES)
    folders = [folder / family for family in FAMILIES]
    said = library_tokens(vision_python, folders, ASKED)
    size = len(ASKED)
    return {one.name: (one, said[at * size : (at + 1) * size]) for at, one in enumerate(folders)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_says_what_it_says_with_mlx_vlm(
    look: Run, families: dict[str, tuple[Path, list[dict[str, Any]]]], family: str
) -> None:
    folder, expected = families[family]

    jobs = [job(str(at), turn, add_at=at, top_logprobs=0) for at, turn in enumerate(ASKED)]
    report = look(*jobs, path=str(folder), settings={"prefill_step_tokens": 16})

    assert report.load_error is None
    assert expected == [engine_tokens(report, one.id) for one in jobs]
    assert len({tuple(one["tokens"]) for one in expected}) == len(ASKED)
