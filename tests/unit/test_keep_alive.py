"""keep_alive is read as Ollama's clients write it."""

from __future__ import annotations

import math

import pytest

from plugins.keep_alive import read_keep_alive


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (0, 0),
        (300, 300),
        (1.5, 1.5),
        (-1, -1),
        (-300, -1),
        (10**12, 10**9),
        (math.inf, 10**9),
        ("0", 0),
        ("300", 300),
        (" 5m ", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("-1", -1),
        ("-1m", -1),
        ("-0s", 0),
    ],
)
def test_a_duration_is_read(given: float | str, seconds: float) -> None:
    assert seconds == read_keep_alive(given)


@pytest.mark.parametrize(
    "given", ["", "soon", "5 m", "5d", "m", "1h-5m", "nan", "5m!", "5m\u0665", "1" * 41, math.nan]
)
def test_anything_else_is_refused(given: float | str) -> None:
    with pytest.raises(ValueError, match='like "5m"'):
        read_keep_alive(given)
