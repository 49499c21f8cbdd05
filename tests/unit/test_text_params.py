"""Sampling parameters: defaults, limits, and the randomness of a seeded row."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from transports.errors import RequestError
from transports.messages import Sampling
from workers.generation.params import Defaults, draw, read_defaults, resolve

VOCABULARY = 1000


def test_what_the_request_leaves_open_is_openais_default() -> None:
    params = resolve(Sampling(), Defaults(), VOCABULARY)

    assert (params.temperature, params.top_p, params.min_p, params.repetition_penalty) == (1.0, 1.0, 0.0, 1.0)
    assert not params.truncates(VOCABULARY)
    assert not params.has_penalties


def test_the_models_default_comes_before_openais() -> None:
    assert resolve(Sampling(), Defaults(temperature=0.6), VOCABULARY).temperature == 0.6


def test_the_request_comes_before_the_model() -> None:
    assert resolve(Sampling(temperature=0), Defaults(temperature=0.6), VOCABULARY).is_greedy


def test_a_temperature_next_to_nothing_is_greedy() -> None:
    assert resolve(Sampling(temperature=1e-300), Defaults(), VOCABULARY).is_greedy


@pytest.mark.parametrize("top_k", [0, VOCABULARY, VOCABULARY + 1, 10**12])
def test_top_k_is_clamped_to_the_vocabulary(top_k: int) -> None:
    assert resolve(Sampling(top_k=top_k), Defaults(), VOCABULARY).top_k == VOCABULARY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("top_p", 0.0),
        ("top_p", math.nan),
        ("top_k", -1),
        ("min_p", 1.1),
        ("xtc_threshold", 0.6),
        ("xtc_probability", math.nan),
        ("repetition_penalty", 0.0),
        ("presence_penalty", math.inf),
        ("frequency_penalty", -2.5),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(RequestError) as caught:
        resolve(Sampling(**{field: value}), Defaults(), VOCABULARY)  # type: ignore[arg-type]

    assert caught.value.param == field


@pytest.mark.parametrize("bias", [{VOCABULARY: 1.0}, {-1: 1.0}, {1: math.nan}, {1: 101.0}])
def test_a_bad_bias_is_refused(bias: dict[int, float]) -> None:
    with pytest.raises(RequestError) as caught:
        resolve(Sampling(logit_bias=bias), Defaults(), VOCABULARY)

    assert caught.value.param == "logit_bias"


def test_rows_without_a_seed_get_different_ones() -> None:
    seeds = {resolve(Sampling(), Defaults(), VOCABULARY).seed for _ in range(8)}

    assert len(seeds) == 8


def test_a_draw_depends_on_seed_and_position_only() -> None:
    assert draw(5, 3) == draw(5, 3)
    assert len({draw(5, 3), draw(5, 4), draw(6, 3), draw(-5, 3)}) == 4


def test_draws_are_keys_and_fractions() -> None:
    for position in range(100):
        high, low, fraction = draw(-(2**63), position)
        assert 0 <= high < 2**32
        assert 0 <= low < 2**32
        assert 0 <= fraction < 1


def test_generation_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(
        json.dumps(
            {"temperature": 0.7, "top_k": 20, "top_p": None, "do_sample": True, "eos_token_id": [1, 2]}
        )
    )

    assert read_defaults(tmp_path) == Defaults(temperature=0.7, top_k=20)


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"temperature": "hot"}', '{"temperature": 9}', '{"top_k": true}', "\xff"]
)
def test_a_bad_generation_config_is_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / "generation_config.json").write_text(content, encoding="latin-1")

    assert read_defaults(tmp_path) == Defaults()


def test_no_generation_config_is_no_error(tmp_path: Path) -> None:
    assert read_defaults(tmp_path) == Defaults()
