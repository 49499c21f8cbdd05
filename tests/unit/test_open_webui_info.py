"""What Open WebUI is told of models."""

from __future__ import annotations

import pytest

from plugins.openai.open_webui import open_webui_info
from transports.reports import ModelInfo


def meta(**fields: object) -> dict[str, object]:
    info = ModelInfo(name="a/b", kind="text", state="ready", source="folder", **fields)
    return open_webui_info(info)["meta"]


def test_a_model_of_text_gets_neither_pictures_nor_tools():
    assert {"vision": False, "builtin_tools": False, "usage": True} == meta(tasks=("chat",))["capabilities"]


def test_what_a_model_can_do_is_offered():
    able = meta(tasks=("chat",), modalities=("text", "image"), capabilities=("tools",))

    assert {"vision": True, "builtin_tools": True, "usage": True} == able["capabilities"]


@pytest.mark.parametrize(
    ("tasks", "is_hidden"),
    [(("chat", "completion"), False), (("embeddings",), True), (("rerank",), True), ((), False)],
)
def test_only_models_that_chat_are_shown(tasks, is_hidden):
    """Of a model whose tasks are not known it is shown what it answers."""
    assert is_hidden == meta(tasks=tasks)["hidden"]


def test_a_person_is_told_in_words():
    able = meta(
        modalities=("text", "image"), capabilities=("tools", "reasoning"), context_length=4096, alias_of="c/d"
    )

    assert (
        "Takes text and pictures. Thinks. Calls tools. Context: 4096 tokens. Stands for c/d."
        == able["description"]
    )
    assert "Takes text." == meta()["description"]
