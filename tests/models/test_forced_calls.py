"""What a grammar lets a model write is read by its family's parser as calls that keep to their schemas."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

pytestmark = pytest.mark.models

ROOT = Path(__file__).resolve().parents[2]
# Of each family; 14 of them.
NUM_WALKS = 4
FIRST_SEED = 0


def test_random_walks_are_calls_with_arguments_of_their_schemas(text_python: str) -> None:
    done = subprocess.run(
        [text_python, "-P", "tests/models/forced_calls_probe.py", str(NUM_WALKS), str(FIRST_SEED)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/models'}"},
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    walks = [json.loads(line) for line in done.stdout.splitlines()]
    ended = [walk for walk in walks if walk.get("text") is not None]

    assert 14 * NUM_WALKS == len(walks)
    assert 14 == len({walk["family"] for walk in ended})
    assert len(ended) > len(walks) * 0.8
    assert [] == [walk for walk in ended if wrong(walk)]


def wrong(walk: dict[str, object]) -> str:
    """What is not as the request wanted it."""
    schemas, calls = walk["schemas"], walk["calls"]
    assert isinstance(schemas, list)
    assert isinstance(calls, list)
    if not calls or str(walk["said"]).strip():
        return "no calls, or a text"
    if not walk["parallel"] and len(calls) > 1:
        return "more than one call"
    if walk["name"] and {name for name, _ in calls} != {walk["name"]}:
        return "another tool"
    for name, arguments in calls:
        validator = Draft202012Validator(
            schemas[int(name[1:])], format_checker=Draft202012Validator.FORMAT_CHECKER
        )
        for error in validator.iter_errors(json.loads(arguments)):
            return error.message
    return ""
