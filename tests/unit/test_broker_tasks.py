"""A request for what its model does not do is refused before anything is loaded."""

from __future__ import annotations

import pytest

from kernel.events import CatalogScanned
from kernel.roster import Roster
from transports.errors import TaskNotSupported
from transports.reports import ModelInfo
from transports.settings import KernelSettings, ModelsSettings


def roster(*models: ModelInfo) -> Roster:
    made = Roster(KernelSettings(), ModelsSettings(aliases={"alias": "minilm"}), lambda _: None)
    made.scanned(CatalogScanned(models), 0.0)
    return made


MINILM = ModelInfo(
    name="minilm", kind="embedding", state="available", source="folder", tasks=("embeddings", "rerank")
)
UNKNOWN = ModelInfo(name="unknown", kind="other", state="available", source="folder")


@pytest.mark.parametrize("name", ["minilm", "alias"])
def test_the_error_names_what_the_model_does(name: str) -> None:
    models = roster(MINILM)

    for look in (models.get, models.find):
        with pytest.raises(TaskNotSupported, match="minilm does embeddings and rerank, not chat") as caught:
            look(name, "chat")
        assert "model" == caught.value.param


def test_what_it_does_is_let_through() -> None:
    assert MINILM == roster(MINILM).get("minilm", "rerank") == roster(MINILM).find("minilm", "embeddings")


def test_a_model_that_does_not_say_is_asked_itself() -> None:
    assert UNKNOWN == roster(UNKNOWN).get("unknown", "chat")


def test_a_long_task_is_not_repeated_whole() -> None:
    with pytest.raises(TaskNotSupported) as caught:
        roster(MINILM).get("minilm", "x" * 64)

    assert len(caught.value.message) < 120
