"""Which worker kind serves a model, by what the kinds declare; no file and no kind of ours."""

from __future__ import annotations

import msgspec
import pytest

from kernel.declaration import Declaration, Rule, candidates, serving, tasks_of


def kind(*rules: Rule) -> Declaration:
    return Declaration(tasks=("chat",), serves=rules)


KINDS = {
    "text": kind(Rule(architectures=("*CausalLM", ""))),
    "vision": kind(Rule(architectures=("*CausalLM", ""), tensors=("vision",))),
    "embedding": kind(
        Rule(architectures=("BertModel",)), Rule(architectures=("*",), files=("modules.json",))
    ),
    "parrot": kind(Rule(model_types=("parrot", "budgie_*"))),
}


@pytest.mark.parametrize(
    ("model_type", "architecture", "files", "tensors", "expected"),
    [
        ("llama", "LlamaForCausalLM", (), ("model.layers.0",), "text"),
        ("llama", "", (), ("model.layers.0",), "text"),
        ("llava", "LlavaForCausalLM", (), ("model.vision_tower.0",), "vision"),
        ("bert", "BertModel", (), ("embeddings",), "embedding"),
        ("qwen3", "Qwen3ForCausalLM", ("modules.json",), ("model.layers.0",), "embedding"),
        # A config.json that names no architecture is still of its type.
        ("parrot", "", (), (), "parrot"),
        ("budgie_2", "", (), (), "parrot"),
        ("bert", "BertForMaskedLM", (), ("embeddings",), None),
    ],
)
def test_the_kind_that_knows_a_model_best_serves_it(
    model_type: str,
    architecture: str,
    files: tuple[str, ...],
    tensors: tuple[str, ...],
    expected: str | None,
) -> None:
    assert serving(KINDS, model_type, architecture, files, tensors) == expected


def test_of_equals_the_first_is_taken() -> None:
    kinds = {"b": kind(Rule(model_types=("x",))), "a": kind(Rule(model_types=("x",)))}

    assert serving(kinds, "x", "", (), ()) == "b"


def test_candidates_leave_the_weights_open() -> None:
    assert candidates(KINDS, "llama", "LlamaForCausalLM", ()) == ("text", "vision")
    assert candidates(KINDS, "clip", "CLIPModel", ()) == ()


def test_the_rule_that_knows_a_model_best_says_what_it_does() -> None:
    """A cross-encoder gives no vectors, although its kind does."""
    declared = Declaration(
        tasks=("embeddings", "rerank"),
        serves=(
            Rule(model_types=("bert",)),
            Rule(model_types=("bert",), architectures=("*ForSequenceClassification",), tasks=("rerank",)),
        ),
    )

    assert tasks_of(declared, "bert", "BertModel", (), ()) == ("embeddings", "rerank")
    assert tasks_of(declared, "bert", "BertForSequenceClassification", (), ()) == ("rerank",)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"tasks": [], "serves": [{}]},
        {"tasks": ["chat"], "serves": []},
        {"tasks": ["chat"], "serves": [{"architecture": ["x"]}]},
        {"tasks": ["chat"], "serves": [{}], "unknown": 1},
        {"tasks": ["chat"], "serves": [{}], "overhead_bytes": -1},
        {"tasks": ["chat"], "serves": [{}], "overhead_bytes": 10**30},
        {"tasks": ["chat"], "serves": [{}], "settings": {"num_slots": 10**30}},
        {"tasks": ["chat"], "serves": [{}], "settings": {"num_slots": [1]}},
        {"tasks": ["chat"], "serves": [{}], "needs": [[]]},
        {"tasks": "chat", "serves": [{}]},
    ],
)
def test_a_wrong_declaration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Declaration)


def test_a_rule_that_asks_for_nothing_serves_nothing() -> None:
    kinds = {"all": kind(Rule())}

    assert candidates(kinds, "llama", "LlamaForCausalLM", ()) == ()
    assert serving(kinds, "llama", "LlamaForCausalLM", (), ()) is None
