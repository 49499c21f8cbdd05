"""Answers about pictures that keep to a schema, in one batch with others."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pictures
import pytest
from engine_host import Run
from json_schemas import random_schema
from vision_jobs import job

from transports.messages import Grammar, Sampling

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

RED_CIRCLE = pictures.shapes(("red", "circle"))
COLOR = "What color is the shape?"
NUM_SCHEMAS = 12


def test_the_answers_to_random_schemas_validate_among_a_plain_row(look: Run, tiny_vl: Path) -> None:
    vocabulary: dict[str, int] = json.loads((tiny_vl / "tokenizer.json").read_text())["model"]["vocab"]
    # Against white space: a schema leaves room for it without end.
    terse = {
        token: -100.0 for piece, token in vocabulary.items() if not piece.strip("\u0120\u010a\u0109\u010d")
    }
    schemas = {f"schema-{seed}": random_schema(seed) for seed in range(NUM_SCHEMAS)}
    report = look(
        job("plain", [RED_CIRCLE, COLOR]),
        *(
            job(
                name,
                [RED_CIRCLE, COLOR],
                sampling=Sampling(seed=seed, logit_bias=terse),
                max_tokens=200,
                grammar=Grammar(kind="json_schema", text=json.dumps(schema)),
            )
            for seed, (name, schema) in enumerate(schemas.items())
        ),
        settings={"num_slots": 8},
    )

    # What a schema leaves open may be filled for longer than an answer may be.
    whole = [name for name in schemas if report.done(name).finish_reason == "stop"]
    for name in whole:
        jsonschema.validate(json.loads(report.text(name)), schemas[name], jsonschema.Draft202012Validator)
    assert len(whole) >= NUM_SCHEMAS * 3 // 4
    assert report.text("plain") == "red"
