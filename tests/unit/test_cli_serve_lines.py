"""What `mlxd serve` says when it is ready."""

from __future__ import annotations

import json
import shlex

from plugins.cli.serve import ready_lines
from transports.reports import FrontendInfo, StatusReply


def status(*addresses: str) -> StatusReply:
    frontends = tuple(
        FrontendInfo(name="x", pid=1, kind="http", supervised=True, state="ready", address=address)
        for address in addresses
    )
    return StatusReply(
        version="1",
        pid=1,
        uptime_s=1,
        state="running",
        memory_bytes=1,
        home="/",
        is_ready=True,
        frontends=frontends,
    )


def test_the_line_to_try_is_one_that_a_shell_understands() -> None:
    lines = ready_lines(status("http://127.0.0.1:1"), ("it's",), needs_key=False)

    words = shlex.split("\n".join(lines[lines.index("Try it:") + 1 : -1]))

    assert lines[0] == "mlxd is ready at http://127.0.0.1:1"
    assert words[:2] == ["curl", "http://127.0.0.1:1/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == "it's"


def test_without_an_address_there_is_nothing_to_try() -> None:
    assert ready_lines(status(), ("m",), needs_key=False) == ["mlxd is ready", "Ctrl-C ends it."]


def test_without_a_model_there_is_nothing_to_try() -> None:
    assert ready_lines(status("http://a"), (), needs_key=False) == [
        "mlxd is ready at http://a",
        "Ctrl-C ends it.",
    ]


def test_where_a_key_is_needed_the_line_to_try_has_its_place() -> None:
    lines = ready_lines(status("https://a"), ("m",), needs_key=True)

    words = shlex.split("\n".join(lines[2:-1]))

    assert words[4:6] == ["-H", "Authorization: Bearer KEY"]
