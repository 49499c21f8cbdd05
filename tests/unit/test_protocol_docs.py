"""docs/protocol.md says what the code does: each message, field, limit, error, operation, and two dumps."""

from __future__ import annotations

import re

import msgspec
import pytest
from message_strategies import BODIES, MESSAGE_TYPES
from protocol_tables import ROOT, operations, rows, structs

from kernel.peers import ALLOWED
from transports import codec
from transports.codec import decode_body, decode_envelope, encode
from transports.envelope import PROTOCOL_VERSION, Envelope, Message
from transports.errors import (
    BY_CODE,
    CapacityError,
    MlxdError,
    RemoteProtocolError,
    RequestError,
    WorkerError,
)
from transports.messages import ChatMessage, ChatRequest, Delta, Done, Events, Role, Timings, Usage
from transports.settings import KernelSettings

DOCS = (ROOT / "docs" / "protocol.md").read_text()
ID = "Zr3xT0aQkV1mN8sPqLw2Yg"
FAULTS = {RequestError: "caller", CapacityError: "load", WorkerError: "worker", RemoteProtocolError: "peer"}


def section(heading: str) -> str:
    """The text from a heading to the next of its level or above."""
    level = heading.split(" ", maxsplit=1)[0]
    _, found, rest = f"\n{DOCS}".partition(f"\n{heading}\n")
    assert found, f"docs/protocol.md: no heading {heading!r}"
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


def table_of(name: str) -> list[str]:
    """The rows of the table that follows the name of a struct."""
    start = re.search(rf"^(\*\*{name}\*\*|### {name}$)", DOCS, re.MULTILINE)
    assert start, f"docs/protocol.md: no table for {name}"
    lines = DOCS[start.end() :].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| field "))
    table: list[str] = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        table.append(line)
    return table


@pytest.mark.parametrize("struct", [s for s in structs() if rows(s)], ids=lambda s: s.__name__)
def test_every_field_stands_with_its_type_limits_and_default(struct: type[msgspec.Struct]) -> None:
    table = table_of(struct.__name__)

    expected = rows(struct)

    assert [line[: len(row)] for line, row in zip(table, expected, strict=True)] == expected


@pytest.mark.parametrize("struct", [s for s in structs() if not rows(s)], ids=lambda s: s.__name__)
def test_a_body_without_fields_is_said_to_have_none(struct: type[msgspec.Struct]) -> None:
    assert f"**{struct.__name__}** has no fields." in DOCS


@pytest.mark.parametrize("type_", MESSAGE_TYPES)
def test_every_message_type_has_its_section(type_: str) -> None:
    text = section(f"### `{type_}`")

    bodies = {body.__name__ for body in BODIES[type_]}
    assert type_ == "reply" or all(f"**{body}**" in text for body in bodies)


def test_no_section_is_left_of_a_message_that_is_gone() -> None:
    assert sorted(re.findall(r"^### `(\w+)`$", DOCS, re.MULTILINE)) == sorted(MESSAGE_TYPES)


@pytest.mark.parametrize("role", ALLOWED)
def test_what_a_role_may_send_is_listed(role: Role) -> None:
    listed = ", ".join(f"`{type_}`" for type_ in sorted(ALLOWED[role]))

    assert f"| {role} | {listed} |" in section("## Messages")


def test_every_error_code_stands_with_fault_status_and_retry() -> None:
    expected = [
        f"| `{code}` | {_fault(cls)} | {cls.http_status} | {'yes' if cls.retryable else 'no'} |"
        for code, cls in BY_CODE.items()
    ]

    documented = re.findall(r"^\| `.*$", section("## Errors"), re.MULTILINE)

    assert sorted("|".join(row.split("|")[:5]) + "|" for row in documented) == sorted(expected)


def test_every_admin_operation_stands_in_the_table() -> None:
    assert set(re.findall(r"^\| `([a-z.]+)` \|", section("## Administration"), re.MULTILINE)) >= operations()
    table = section("## Administration").partition("An unknown operation")[0]
    assert set(re.findall(r"^\| `([a-z.]+)` \|", table, re.MULTILINE)) == operations()


def test_every_limit_stands_with_its_value() -> None:
    documented = dict(
        re.findall(r"^\| `([\w.]+)` \| (?:default )?([\d.]+) \|", section("## Limits"), re.MULTILINE)
    )

    for name, value in documented.items():
        owner, _, key = name.partition(".")
        assert str(getattr(codec if owner == "codec" else KernelSettings(), key)) == value, name
    assert {f"codec.{name}" for name in vars(codec) if name.startswith("MAX_")} <= set(documented)


def test_settings_that_are_named_exist() -> None:
    named = set(re.findall(r"`kernel\.(\w+)`", DOCS)) - {"lock", "sock"}

    assert named <= set(KernelSettings.__struct_fields__)


def test_the_version_is_that_of_the_code() -> None:
    assert f"Version {PROTOCOL_VERSION}. " in DOCS
    assert f"**Version {PROTOCOL_VERSION}**" in section("## Changes")


DUMPS: dict[str, tuple[Envelope, Message]] = {
    "submit": (
        Envelope(version=1, type="submit", ids=(ID,), model="demo/smollm2-135m", task="chat"),
        ChatRequest(messages=(ChatMessage(role="user", content="Hi"),), max_tokens=8),
    ),
    "events": (
        Envelope(version=1, type="events", ids=(ID,), finished=(ID,), peer="q5sX2cJ0dF7uH9bEwRtK4A"),
        Events(
            items=(
                Delta(id=ID, text="Hello"),
                Done(
                    id=ID,
                    finish_reason="stop",
                    usage=Usage(prompt_tokens=31, completion_tokens=2),
                    timings=Timings(ttft_s=0.25, total_s=0.5),
                ),
            )
        ),
    ),
}


@pytest.mark.parametrize("type_", DUMPS)
def test_the_dumps_are_what_is_sent(type_: str) -> None:
    envelope, body = DUMPS[type_]

    frames = dump(type_)

    assert frames == [encode(envelope), encode(body)]
    assert decode_envelope(frames[0]) == envelope
    assert decode_body(frames[1], type(body)) == body


def dump(type_: str) -> list[bytes]:
    """The two frames of an example in the docs."""
    (block,) = re.findall(
        rf"\*\*{type_}\*\*[^`]*(?:`[^`\n]+`[^`]*)*```\n(.*?)```", section("## Example dumps"), re.DOTALL
    )
    return [bytes.fromhex(part) for part in block.split("\n\n")]


def _fault(cls: type[MlxdError]) -> str:
    return next((fault for base, fault in FAULTS.items() if issubclass(cls, base)), "mlxd")
