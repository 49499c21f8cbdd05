"""What asks to run a model folder's own code is found, however it asks, and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_catalog import model, scan

from kernel.foreign_code import check_config

LLAMA = {"model_type": "llama"}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", {"model_file": "evil.py"}, "config.json: model_file"),
        ("config.json", {"model_file": "/tmp/evil.py"}, "config.json: model_file"),
        ("config.json", {"model_file": "../evil.py"}, "config.json: model_file"),
        ("config.json", {"text_config": {"model_file": "evil.py"}}, "config.json: text_config.model_file"),
        ("config.json", {"parts": [{"model_file": "evil.py"}]}, "config.json: parts.model_file"),
        ("config.json", {"auto_map": {"AutoModel": "../evil.Model"}}, "config.json: auto_map"),
        ("config.json", {"auto_map": {"AutoModel": "/tmp/evil.Model"}}, "config.json: auto_map"),
        ("config.json", {"vision_config": {"auto_map": "a/b.C"}}, "config.json: vision_config.auto_map"),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["evil.T", None]}},
            "tokenizer_config.json: auto_map",
        ),
        (
            "processor_config.json",
            {"auto_map": {"AutoProcessor": "../evil.P"}},
            "processor_config.json: auto_map",
        ),
        ("preprocessor_config.json", {"model_file": "evil.py"}, "preprocessor_config.json: model_file"),
    ],
)
def test_a_key_that_names_code_is_refused(
    tmp_path: Path, file: str, content: dict[str, object], said: str
) -> None:
    model(tmp_path / "models/hostile", {file: json.dumps(LLAMA | content).encode()})
    model(tmp_path / "models/whole")

    found = scan(tmp_path)

    assert found["hostile"].error.startswith(said)
    assert found["whole"].error == ""


@pytest.mark.parametrize("name", ["modeling_evil.py", "evil.so", "sitecustomize.pyc"])
def test_code_beside_the_weights_is_refused(tmp_path: Path, name: str) -> None:
    model(tmp_path / "models/hostile", {name: b"open('CANARY', 'w')"})

    assert (
        scan(tmp_path)["hostile"].error
        == f"{name}: code beside the weights, which mlxd never runs: remove it"
    )


def test_an_auto_map_whose_code_is_not_there_is_harmless(tmp_path: Path) -> None:
    """Many well-known models have one; `mlxd pull` leaves the code out, and the library has its own."""
    auto_map = {"AutoModel": "modeling_phi3.Phi3", "AutoConfig": "microsoft/Phi-3--configuration_phi3.Config"}
    model(tmp_path / "models/phi", {"config.json": json.dumps(LLAMA | {"auto_map": auto_map}).encode()})

    assert scan(tmp_path)["phi"].error == ""


def test_nesting_has_an_end() -> None:
    content: dict[str, object] = {}
    for _ in range(100_000):
        content = {"a": content}

    with pytest.raises(ValueError, match=r"config.json: nested too deeply"):
        check_config("config.json", content)
