"""A log line is one line, whatever a peer or a model name holds."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from transports import logs


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(autouse=True)
def reset() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize(
    "value",
    [
        "red \x1b[31m alarm",
        "first\nlevel=error event=forged",
        "carriage\rreturn",
        "\x9b31m",
        "right to left \u202e",
        "line\u2028separator",
        Path("/models/\x1b[2J"),
        ValueError("\x1b]0;title\x07\n"),
        ("\x1b", {"\x1b": "\n"}),
    ],
    ids=ascii,
)
def test_control_characters_are_made_visible(stream: io.StringIO, format_: str, value: object) -> None:
    logs.configure("info", format_, "test", stream)

    structlog.get_logger().info("model_ready", model=value)

    text = stream.getvalue()
    assert text.endswith("\n")
    assert text[:-1].isprintable()


def test_a_traceback_stays_on_its_line(stream: io.StringIO) -> None:
    logs.configure("info", "text", "test", stream)

    try:
        raise ValueError("\x1b[31m")
    except ValueError:
        structlog.get_logger().exception("job_failed")

    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_letters_of_any_language_stay_as_they_are(stream: io.StringIO) -> None:
    logs.configure("info", "text", "test", stream)

    structlog.get_logger().info("loaded", model="größe/模型")

    assert "größe/模型" in stream.getvalue()


def test_each_event_names_its_process(stream: io.StringIO) -> None:
    logs.configure("info", "json", "text:demo/x", stream)

    structlog.get_logger().info("worker_ready", load_s=1.5)

    event = json.loads(stream.getvalue())
    assert (event["process"], event["event"], event["load_s"]) == ("text:demo/x", "worker_ready", 1.5)


def test_events_below_the_level_are_not_written(stream: io.StringIO) -> None:
    logs.configure("warning", "text", "test", stream)

    structlog.get_logger().info("too_quiet")

    assert stream.getvalue() == ""
