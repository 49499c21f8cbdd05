"""A peer that breaks the protocol harms itself at most."""

from __future__ import annotations

import pytest
from kernel_world import TOKEN, World

from kernel.events import MalformedReceived, MessageReceived, Prepared
from transports.envelope import Envelope, MessageType
from transports.errors import RemoteProtocolError
from transports.frames import Parcel, parcel
from transports.messages import Done, Events, Hello, Usage

USAGE = Usage(prompt_tokens=1, completion_tokens=1)


def hello(**fields: object) -> Parcel:
    right = {"role": "frontend", "kind": "x", "name": "x", "token": TOKEN, "pid": 1, "mlxd_version": "1"}
    return parcel("hello", Hello(**(right | fields)))  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["", "guess", "größe", "\ud7ff\x00"])
@pytest.mark.parametrize("role", ["frontend", "worker"])
def test_a_wrong_token_is_refused(role: str, token: str) -> None:
    """Also while a process is awaited, whose token is then compared."""
    world = World("m", automatic=False)
    world.submit(world.frontend(), "m")
    world.feed(Prepared("m", "/models/m"))
    assert world.spawned

    world.feed(MessageReceived("stranger", hello(role=role, token=token)))

    assert world.types("stranger") == ["failed"]


def test_the_token_for_visitors_makes_no_worker() -> None:
    world = World("m")

    world.feed(MessageReceived("stranger", hello(role="worker")))

    assert world.types("stranger") == ["failed"]


def test_a_token_is_good_for_one_hello() -> None:
    world = World("m", automatic=False)
    world.submit(world.frontend(), "m")
    world.feed(Prepared("m", "/models/m"))
    token = world.spawned["echo:m"]
    world.hello("echo:m")

    world.feed(MessageReceived("second", hello(role="worker", token=token)))

    assert world.types("second") == ["failed"]


def test_an_identity_too_long_to_come_back_is_refused() -> None:
    """A worker could not read the envelope that it stands in."""
    world = World("m")

    world.feed(MessageReceived("i" * 65, hello()))
    world.feed(MessageReceived("i" * 64, hello()))

    assert world.types("i" * 65) == ["failed"]
    assert world.types("i" * 64) == ["welcome"]


@pytest.mark.parametrize("type_", ["submit", "cancel", "admin", "events", "pong", "ready", "bye", "reply"])
def test_nothing_is_heard_before_hello(type_: MessageType) -> None:
    world = World("m")

    world.feed(
        MessageReceived("stranger", Parcel(Envelope(version=1, type=type_, ids=("request-1",)), (b"\x80",)))
    )

    assert world.types("stranger") == ["failed"]


def test_a_stranger_cannot_cancel_or_end_a_request() -> None:
    world = World("m")
    owner, other = world.frontend(), world.frontend()
    request = world.submit(owner, "m")

    world.cancel(other, request)
    world.bye(other)
    world.feed(MalformedReceived("stranger", RemoteProtocolError("junk")))
    world.finish("echo:m", request)

    assert world.ends == {(owner, request): ["events"]}


def test_a_worker_that_ends_a_request_twice_in_one_message_is_ended() -> None:
    world = World("m")
    peer = world.frontend()
    request = world.submit(peer, "m")
    done = Done(id=request, finish_reason="stop", usage=USAGE)
    message = parcel("events", Events(items=(done,)), ids=(request,), finished=(request, request), peer=peer)

    world.feed(MessageReceived(world.workers["echo:m"], message))

    assert world.ends == {(peer, request): ["failed"]}
    assert world.kills


@pytest.mark.parametrize("field", ["ids", "finished"])
def test_a_worker_that_speaks_of_others_requests_is_ended(field: str) -> None:
    world = World("m")
    peer = world.frontend()
    request = world.submit(peer, "m")
    ids = {"ids": (request,), "finished": ()} | {field: ("somebody-else-s",)}
    message = parcel("events", Events(items=()), peer=peer, **ids)  # type: ignore[arg-type]

    world.feed(MessageReceived(world.workers["echo:m"], message))

    assert world.kills
    assert world.ends == {(peer, request): ["failed"]}


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81", b"\x92" * 5000, b"\x80" * 2])
@pytest.mark.parametrize("type_", ["hello", "admin"])
def test_a_body_that_cannot_be_read_is_answered(type_: MessageType, body: bytes) -> None:
    world = World("m")
    peer = world.frontend()

    world.feed(
        MessageReceived(
            peer, Parcel(Envelope(version=1, type=type_, ids=("request-1",), task="status"), (body,))
        )
    )

    assert world.types(peer)[-1] == "failed"


def test_a_message_without_its_body_is_answered() -> None:
    world = World("m")

    world.feed(MessageReceived("stranger", Parcel(Envelope(version=1, type="hello"), ())))

    assert world.types("stranger") == ["failed"]
