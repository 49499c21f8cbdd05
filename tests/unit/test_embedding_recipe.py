"""What the files of sentence-transformers say of a model's vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from transports.errors import ModelUnavailable
from workers.embedding.recipe import Recipe, read_recipe

MODULES = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def write(folder: Path, **files: object) -> Path:
    """Files by name, with __ for the slash and without .json."""
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def folder_with(tmp_path: Path, pooling: object = MEAN, **files: object) -> Path:
    return write(tmp_path, **{"modules": MODULES, "1_Pooling__config": pooling, **files})


def test_pooling_and_normalisation_are_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, sentence_bert_config={"max_seq_length": 256})

    assert Recipe(pooling="mean", normalizes=True, max_tokens=256) == read_recipe(folder, {}, "cls")


def test_a_model_that_does_not_normalise_is_not_normalised(tmp_path: Path) -> None:
    assert not read_recipe(folder_with(tmp_path, modules=MODULES[:2]), {}, "cls").normalizes


def test_the_newer_form_of_pooling_is_read(tmp_path: Path) -> None:
    assert "lasttoken" == read_recipe(folder_with(tmp_path, {"pooling_mode": "lasttoken"}), {}, "cls").pooling


def test_a_default_prompt_stands_in_front_of_every_text(tmp_path: Path) -> None:
    prompts = {"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"}

    assert (
        "find: " == read_recipe(folder_with(tmp_path, config_sentence_transformers=prompts), {}, "cls").prompt
    )


def test_without_the_files_the_guess_is_said(tmp_path: Path) -> None:
    recipe = read_recipe(tmp_path, {}, "lasttoken")

    assert ("lasttoken", True) == (recipe.pooling, recipe.normalizes)
    assert "no modules.json: lasttoken pooling" in recipe.note


@pytest.mark.parametrize(
    ("config", "size", "allowed"),
    [
        ({}, 64, False),
        ({"matryoshka_dimensions": [128, 64]}, 64, True),
        ({"matryoshka_dimensions": [128, 64]}, 65, False),
        ({"is_matryoshka": True}, 65, True),
        ({"is_matryoshka": "yes"}, 65, False),
        ({"matryoshka_dimensions": ["64"]}, 64, False),
    ],
)
def test_smaller_vectors_only_where_the_model_says_so(
    tmp_path: Path, config: dict[str, object], size: int, allowed: bool
) -> None:
    assert allowed is read_recipe(tmp_path, config, "cls").allows(size)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"modules": {}}, "expected a list"),
        ({"modules": "[" * 100_000}, "corrupt"),
        ({"modules": "not JSON"}, "corrupt"),
        (
            {"modules": [{"type": "sentence_transformers.models.WordWeights"}]},
            "'WordWeights' is not supported",
        ),
        ({"modules": [{"type": "x.Pooling", "path": "/etc"}]}, "a folder beside it"),
        ({"modules": [{"type": "x.Pooling", "path": ".."}]}, "a folder beside it"),
        ({"modules": MODULES[:1]}, "expected a Pooling"),
        ({"1_Pooling__config": {}}, "expected one pooling"),
        ({"1_Pooling__config": {**MEAN, "pooling_mode_cls_token": True}}, "expected one pooling"),
        ({"1_Pooling__config": []}, "expected a JSON object"),
        ({"modules": " " * 2_000_000}, "at most"),
    ],
)
def test_what_is_not_done_here_is_refused(tmp_path: Path, files: dict[str, object], reason: str) -> None:
    with pytest.raises(ModelUnavailable, match=reason):
        read_recipe(folder_with(tmp_path, **files), {}, "cls")
