"""What `mlxd models` says below its table."""

from __future__ import annotations

import pytest

from plugins.cli.models import print_models
from transports.reports import ModelInfo


def model(name: str, **fields: object) -> ModelInfo:
    return ModelInfo(name=name, kind="text", source="folder", **{"state": "available", **fields})  # type: ignore[arg-type]


def test_a_model_that_cannot_be_served_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    print_models(
        (
            model("a/fine"),
            model("b/half", state="failed", error="model.safetensors: missing"),
            model("c/big", state="failed", error="c/big: needs 9.0 GB of memory"),
            model("d/name", alias_of="a/fine"),
            model("e/edited", is_changed=True),
        )
    )

    _, _, notes = capsys.readouterr().out.partition("\n\n")
    assert notes.splitlines() == [
        "b/half: model.safetensors: missing",
        "c/big: needs 9.0 GB of memory",
        "d/name: alias of a/fine",
        "e/edited: changed on disk since it was loaded; the next load takes what is there now",
    ]


def test_where_nothing_is_to_be_said_the_table_is_all(capsys: pytest.CaptureFixture[str]) -> None:
    print_models((model("a/fine"),))

    assert len(capsys.readouterr().out.splitlines()) == 2
