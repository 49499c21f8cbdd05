"""The embedding engine alone, with tiny models: equal to sentence-transformers, and fair among requests."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from embedding_probe import Answer, Job, Report, Scenario

from transports.vectors import EmbeddingsRequest, RerankRequest

pytestmark = pytest.mark.models

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = json.loads((Path(__file__).parent / "embedding_reference.json").read_text())
# Of the words in tiny_encoders.py.
RED = 6
Ask = Callable[..., Report]


@pytest.fixture(scope="module")
def ask(embedding_python: str) -> Iterator[Ask]:
    """Plays a scenario; one process for all tests: importing the libraries takes seconds."""
    process = subprocess.Popen(
        [embedding_python, "-P", str(ROOT / "tests/models/embedding_probe.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/models'}", "PATH": "/usr/bin:/bin"},
    )
    assert process.stdin
    assert process.stdout
    stdin, stdout = process.stdin, process.stdout

    def play(model: str, *jobs: Job, **fields: Any) -> Report:
        stdin.write(msgspec.json.encode(Scenario(model=model, jobs=list(jobs), **fields)) + b"\n")
        stdin.flush()
        return msgspec.json.decode(stdout.readline(), type=Report)

    yield play
    stdin.close()
    assert 0 == process.wait(20)


def embed(id_: str, *texts: str | tuple[int, ...], cancel_at: int | None = None, **fields: Any) -> Job:
    return Job(id=id_, embeddings=EmbeddingsRequest(input=texts, **fields), cancel_at=cancel_at)


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)


def assert_same(answer: Answer, expected: list[list[float]], within: float = 1e-4) -> None:
    assert "" == answer.message
    assert len(expected) == len(answer.rows)
    for row, wanted in zip(answer.rows, expected, strict=True):
        assert row == pytest.approx(wanted, abs=within)


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "qwen3"])
def test_vectors_are_those_of_sentence_transformers(ask: Ask, name: str) -> None:
    """Each family with another pooling: cls, mean, and that of the last token."""
    report = ask(name, embed("all", *REFERENCE["tiny_texts"]))

    assert not report.has_torch
    assert ["embeddings"] == report.tasks
    assert_same(report.answers["all"], REFERENCE["tiny"][name])


@pytest.mark.parametrize("name", ["bert-cross", "roberta-cross"])
def test_scores_are_those_of_sentence_transformers(ask: Ask, name: str) -> None:
    """One goes through a sigmoid, the other is told not to."""
    jobs = [
        Job(id=str(i), rerank=RerankRequest(query=query, documents=(text,)))
        for i, (query, text) in enumerate(REFERENCE["pairs"])
    ]
    report = ask(name, *jobs)

    assert ["rerank"] == report.tasks
    for i, expected in enumerate(REFERENCE["tiny"][name]):
        assert_same(report.answers[str(i)], [expected])


def test_a_row_is_the_same_in_any_company(ask: Ask) -> None:
    texts = ["red", "a big dog eats a small fish in the house", "blue fish", "the " * 30]
    together = ask("bert", embed("all", *texts))
    alone = ask("bert", *[embed(str(i), text) for i, text in enumerate(texts)], settings={"step_tokens": 64})

    rows = [alone.answers[str(i)].rows[0] for i in range(len(texts))]
    assert_same(together.answers["all"], rows, within=1e-5)


def test_token_ids_are_taken_as_they_are(ask: Ask) -> None:
    report = ask("bert", embed("text", "red fish"), embed("ids", (2, RED, 9, 3)), embed("bad", (1, 99)))

    assert_same(report.answers["ids"], report.answers["text"].rows, within=1e-6)
    assert 4 == report.answers["ids"].prompt_tokens
    assert ("invalid_request", "input[0]") == (report.answers["bad"].code, report.answers["bad"].param)


def test_a_long_input_is_refused_unless_it_may_be_cut(ask: Ask) -> None:
    long = "fish " * 100
    report = ask(
        "bert",
        embed("refused", "red", long),
        embed("cut", long, truncate=True),
        embed("fits", "fish " * 38),
        embed("ids", tuple([RED] * 41)),
    )

    refused = report.answers["refused"]
    assert 40 == report.context_length
    assert ("context_length_exceeded", "input[1]") == (refused.code, refused.param)
    assert "input[1]: expected at most 40 tokens, got 102" in refused.message
    assert_same(report.answers["cut"], report.answers["fits"].rows, within=1e-6)
    assert "context_length_exceeded" == report.answers["ids"].code


def test_what_is_far_too_long_is_not_even_read(ask: Ask) -> None:
    report = ask("bert", embed("long", " " * 5000), embed("cut", "red" + " " * 5000, truncate=True))

    assert "got 5000 characters" in report.answers["long"].message
    assert not report.answers["cut"].message


def test_a_document_is_cut_and_a_query_never(ask: Ask) -> None:
    long = "fish " * 60
    report = ask(
        "bert-cross",
        Job(id="refused", rerank=RerankRequest(query="red", documents=("blue", long))),
        Job(id="cut", rerank=RerankRequest(query="red", documents=(long,), truncate=True)),
        Job(id="query", rerank=RerankRequest(query=long, documents=("blue",), truncate=True)),
    )

    assert "documents[1]" == report.answers["refused"].param
    assert 40 == report.answers["cut"].prompt_tokens
    assert ("context_length_exceeded", "query") == (
        report.answers["query"].code,
        report.answers["query"].param,
    )


def test_a_roberta_has_two_positions_less_than_it_says(ask: Ask) -> None:
    """Its positions are counted from behind the padding token on."""
    assert 39 == ask("xlm-roberta").context_length


def test_small_vectors_are_refused_where_the_model_does_not_say_that_it_gives_them(ask: Ask) -> None:
    whole, small = embed("whole", "red", dimensions=32), embed("small", "red", dimensions=8)
    plain = ask("bert", whole, small)
    trained = ask("bert", whole, small, config={"matryoshka_dimensions": [16, 8]})

    assert "dimensions" == plain.answers["small"].param
    assert "expected 32, as the model does not say" in plain.answers["small"].message
    (row,), (cut,) = trained.answers["whole"].rows, trained.answers["small"].rows
    assert 1 == pytest.approx(math.hypot(*cut), abs=1e-5)
    assert 1 == pytest.approx(cosine(row[:8], cut), abs=1e-6)


def test_a_short_request_does_not_wait_for_a_long_one(ask: Ask) -> None:
    many = ["a big dog eats a small fish in the house"] * 200
    report = ask("bert", embed("long", *many), embed("short", "red"), settings={"step_tokens": 64})

    assert report.answers["short"].step <= 4
    assert report.answers["long"].step >= 40


def test_requests_share_steps(ask: Ask) -> None:
    report = ask("bert", *[embed(str(i), "red fish") for i in range(8)])

    assert 8 == len(report.answers)
    assert len(report.batches) < 8


def test_a_cancelled_request_computes_no_further_step(ask: Ask) -> None:
    many = ["a big dog eats a small fish in the house"] * 200
    report = ask("bert", embed("gone", *many, cancel_at=5), settings={"step_tokens": 64})

    assert report.answers["gone"].is_cancelled
    assert len(report.batches) <= 6


def test_a_step_that_fails_ends_only_the_request_at_fault(ask: Ask) -> None:
    report = ask("bert", embed("good", "blue"), embed("bad", "red"), embed("fine", "dog"), broken_token=RED)

    assert "worker_error" == report.answers["bad"].code
    assert ["", ""] == [report.answers[name].message for name in ("good", "fine")]


def test_numbers_that_are_none_are_an_error(ask: Ask) -> None:
    """A JSON number cannot be NaN, and a client would get null."""
    report = ask("bert", embed("a", "red"), gives_nan=True)

    assert "worker_error" == report.answers["a"].code


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"config": {"hidden_act": "relu"}}, "hidden_act: 'relu' is not supported"),
        ({"config": {"position_embedding_type": "relative_key"}}, "position_embedding_type"),
        ({"config": {"num_hidden_layers": 3}}, "cannot be loaded"),
        ({"modules": [{"type": "sentence_transformers.models.LSTM"}]}, "'LSTM' is not supported"),
        ({"modules": [{"type": "x.Pooling", "path": "../1_Pooling"}]}, "expected a folder beside it"),
        ({"modules": []}, "expected a Pooling module"),
    ],
)
def test_a_model_that_would_be_computed_wrongly_is_refused(
    ask: Ask, fields: dict[str, Any], reason: str
) -> None:
    assert reason in ask("bert", **fields).load_error


def test_a_classifier_is_no_cross_encoder(ask: Ask) -> None:
    report = ask("bert-cross", config={"id2label": {"0": "a", "1": "b"}})

    assert "expected one label, got 2" in report.load_error
