"""Tables, JSON, sizes and times as the commands print them."""

from __future__ import annotations

import json

import pytest

from plugins.cli.output import duration, print_fields, print_json, print_table, size
from transports.reports import WorkerInfo


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (9_960, "10 kB"),
        (98_300_000, "98 MB"),
        (999_600_000, "1.0 GB"),
        (16 * 1024**3, "17 GB"),
        (3 * 10**15, "3000.0 TB"),
    ],
)
def test_a_size_has_two_digits_and_a_unit(size_bytes: int, words: str) -> None:
    assert words == size(size_bytes)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (90_000, "1 d 1 h")],
)
def test_a_time_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert words == duration(seconds)


def test_json_has_every_field_and_nothing_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    worker = WorkerInfo(name="a", pid=1, kind="text", model="\x9b31m\u202e", state="ready")

    print_json((worker,))

    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert {"pid": 1, "model": "\x9b31m\u202e", "num_active": 0, "notes": []}.items() <= json.loads(out)[
        0
    ].items()


def test_a_table_in_a_pipe_is_whole_plain_and_free_of_markup(capsys: pytest.CaptureFixture[str]) -> None:
    name = "org/" + "long-name-" * 20

    print_table(("MODEL", "STATE"), [(name, "[bold]ready"), ("\x1b[31mred", ":smile:")], folded="MODEL")

    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["MODEL", "STATE"]
    assert [name, "[bold]ready"] == first.split()
    assert second.split() == ["red", ":smile:"]


def test_fields_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"name": "a", "error": ""})

    assert capsys.readouterr().out == "name   a\n"
