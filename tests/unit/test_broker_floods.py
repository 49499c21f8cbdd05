"""A frontend that sends too much is cut off and told why; a busy one is not, and nobody else suffers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kernel_world import World

from kernel.actions import Disconnect, Kill, Log
from kernel.events import MalformedReceived, MessageReceived
from transports.codec import decode_body
from transports.errors import RemoteProtocolError
from transports.frames import Parcel, parcel
from transports.messages import Bye, Drain, Failed, Hello, Pong
from transports.reports import Admin, StatusReply
from transports.settings import KernelSettings

M = "echo/m"
SETTINGS = KernelSettings(
    frontends=(),
    max_queued=2,
    max_messages_per_s=1000,
    max_bytes_per_s=100_000,
    max_refused_per_s=100,
    max_malformed_per_s=20,
    max_questions_per_s=50,
)
HELLO = Hello(role="frontend", kind="test", name="x", token="wrong", pid=7, mlxd_version="1")


def malformed(world: World, peer: str) -> None:
    world.feed(MalformedReceived(peer, RemoteProtocolError("no envelope")))


def unasked(world: World, peer: str) -> None:
    world.feed(MessageReceived(peer, parcel("pong", Pong())))


def not_allowed(world: World, peer: str) -> None:
    world.feed(MessageReceived(peer, parcel("drain", Drain())))


def cancel_nothing(world: World, peer: str) -> None:
    world.cancel(peer, "never-there")


def cancel_again(world: World, peer: str) -> None:
    if "echo:" + M not in world.workers:
        world.submit(peer, M, request_id="running-on")
        # Its worker does not hear of the cancel for now.
        world.running.clear()
    world.cancel(peer, "running-on")


def refused(world: World, peer: str) -> None:
    world.submit(peer, "echo/not-here")


def hello_again(world: World, peer: str) -> None:
    world.say_hello(peer)


FLOODS: dict[str, tuple[Callable[[World, str], None], str]] = {
    "malformed": (malformed, "kernel.max_malformed_per_s"),
    "not allowed": (not_allowed, "kernel.max_malformed_per_s"),
    "pongs without a ping": (unasked, "kernel.max_refused_per_s"),
    "cancels of nothing": (cancel_nothing, "kernel.max_refused_per_s"),
    "cancels of the same": (cancel_again, "kernel.max_refused_per_s"),
    "refused": (refused, "kernel.max_refused_per_s"),
    "hello again": (hello_again, "kernel.max_refused_per_s"),
}


def told(world: World, peer: str) -> list[str]:
    """The reasons of failures that are about no request."""
    return [
        decode_body(message.body, Failed).message
        for message in world.inbox[peer]
        if message.envelope.type == "failed" and not message.envelope.ids
    ]


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_cut_off_and_told_why(kind: str) -> None:
    flood, setting = FLOODS[kind]
    world = World(M, settings=SETTINGS)
    peer, other = world.frontend(), world.frontend()
    for _ in range(100):
        flood(world, peer)
        if Disconnect(peer, peer) in world.actions:
            break

    assert world.actions.count(Disconnect(peer, peer)) == 1
    assert setting in told(world, peer)[-1]
    log = [a for a in world.actions if isinstance(a, Log) and a.event == "peer_cut_off"]
    assert len(log) == 1
    (outcast,) = world.reply(other, world.admin(other, "status"), StatusReply).outcasts  # type: ignore[attr-defined]
    assert (outcast.name, outcast.pid) == (peer, 7)
    assert setting in outcast.reason


@pytest.mark.parametrize("kind", FLOODS)
def test_the_same_slowly_is_borne(kind: str) -> None:
    flood, _ = FLOODS[kind]
    world = World(M, settings=SETTINGS)
    peer = world.frontend()
    for _ in range(60):
        world.advance(0.1)
        flood(world, peer)

    assert Disconnect(peer, peer) not in world.actions


def test_a_busy_frontend_is_not_cut_off() -> None:
    """Requests that are served count as messages only."""
    world = World(M, settings=SETTINGS, num_slots=64)
    peer = world.frontend()
    for _ in range(20):
        ids = [world.submit(peer, M) for _ in range(20)]
        world.advance(0.025)
        for request_id in ids:
            world.finish("echo:" + M, request_id)

    assert Disconnect(peer, peer) not in world.actions


def test_more_messages_than_the_kernel_bears_are_too_many() -> None:
    world = World(M, settings=SETTINGS, num_slots=600)
    peer = world.frontend()
    ids = [world.submit(peer, M) for _ in range(510)]

    assert Disconnect(peer, peer) in world.actions
    assert "kernel.max_messages_per_s" in told(world, peer)[0]
    # Nobody waits for the answers any more.
    assert not world.running["echo:" + M]
    assert ids


def test_bytes_are_counted_and_one_large_message_is_borne() -> None:
    world = World(M, settings=SETTINGS)
    peer = world.frontend()
    huge = parcel("cancel", HELLO, [bytes(200_000)], ids=("never-there",))
    world.feed(MessageReceived(peer, huge))
    assert Disconnect(peer, peer) not in world.actions
    world.feed(MessageReceived(peer, huge))

    assert Disconnect(peer, peer) in world.actions
    assert "kernel.max_bytes_per_s" in told(world, peer)[0]


def test_guessed_tokens_are_cut_off_and_a_good_hello_is_heard() -> None:
    world = World(M, settings=SETTINGS)
    for _ in range(20):
        world.feed(MessageReceived("guesser", parcel("hello", HELLO)))
    peer = world.frontend()

    assert Disconnect("guesser", "guesser") in world.actions
    assert "welcome" in world.types(peer)


def test_the_requests_of_one_that_is_cut_off_are_cancelled_and_no_others() -> None:
    world = World(M, settings=SETTINGS)
    peer, other = world.frontend(), world.frontend()
    lost, kept = world.submit(peer, M), world.submit(other, M)
    for _ in range(20):
        malformed(world, peer)

    assert set(world.running["echo:" + M]) == {kept}
    assert not world.ends[other, kept]
    assert lost


def test_the_log_names_malformed_messages_once() -> None:
    world = World(M, settings=SETTINGS)
    peer = world.frontend()
    for _ in range(9):
        malformed(world, peer)

    events = [action.event for action in world.actions if isinstance(action, Log)]
    assert events.count("malformed_message") == 1


def test_a_supervised_frontend_that_floods_is_ended_and_status_says_why() -> None:
    world = World(M, settings=KernelSettings(frontends=("http",), max_refused_per_s=100), automatic=False)
    peer = world.hello_frontend("frontend:http")
    for _ in range(60):
        cancel_nothing(world, peer)

    assert Kill("frontend:http", "kill") in world.kills
    world.die("frontend:http")
    (info,) = (process for process in world.broker._supervisor if process.name == "frontend:http")
    assert "kernel.max_refused_per_s" in info.error


def test_too_many_questions_are_refused_with_the_time_to_wait() -> None:
    world = World(M, settings=SETTINGS)
    peer = world.frontend()
    ids = [world.admin(peer, "queue") for _ in range(11)]

    assert [world.ends[peer, question] for question in ids] == [["reply"]] * 10 + [["failed"]]
    failed = world.failure(peer, ids[-1])
    assert (failed.code, failed.retry_after_s) == ("rate_limited", pytest.approx(0.02))


def test_limits_may_be_off() -> None:
    off = KernelSettings(
        frontends=(), max_messages_per_s=0, max_bytes_per_s=0, max_refused_per_s=0, max_malformed_per_s=0
    )
    world = World(M, settings=off)
    peer = world.frontend()
    for _ in range(300):
        malformed(world, peer)
        refused(world, peer)

    assert Disconnect(peer, peer) not in world.actions


def from_process(world: World, origin: str, peer: str, message: Parcel) -> None:
    world.feed(MessageReceived(peer, message, origin))


def test_the_connections_of_a_process_share_what_it_may_send() -> None:
    world = World(M, settings=SETTINGS)
    one, two, other = world.frontend(), world.frontend(), world.frontend()
    kept = world.submit(one, M)
    for _ in range(25):
        from_process(world, "process-7", one, parcel("pong", Pong()))
        from_process(world, "process-8", other, parcel("pong", Pong()))
        from_process(world, "process-7", two, parcel("pong", Pong()))
    from_process(world, "process-7", two, parcel("pong", Pong()))

    assert {Disconnect(one, "process-7"), Disconnect(two, "process-7")} == {
        action for action in world.actions if isinstance(action, Disconnect)
    }
    # All of its connections are told, and nobody waits for its answers.
    assert told(world, one) == told(world, two) != []
    assert kept not in world.running.get("echo:" + M, {})


def test_a_new_identity_has_no_new_allowance() -> None:
    world = World(M, settings=SETTINGS)
    for number in range(20):
        world.feed(MalformedReceived(f"life-{number}", RemoteProtocolError("no envelope"), "process-7"))

    assert Disconnect("life-10", "process-7") in world.actions


def test_a_supervised_frontend_that_floods_over_another_connection_is_ended() -> None:
    world = World(M, settings=KernelSettings(frontends=("http",), max_refused_per_s=100), automatic=False)
    peer, visitor = world.hello_frontend("frontend:http"), world.frontend()
    from_process(world, "process-7", peer, parcel("pong", Pong()))
    for _ in range(60):
        from_process(world, "process-7", visitor, parcel("pong", Pong()))

    assert Kill("frontend:http", "kill") in world.kills
    world.die("frontend:http")
    (info,) = (process for process in world.broker._supervisor if process.name == "frontend:http")
    assert "kernel.max_refused_per_s" in info.error
    assert info.is_down or info.state == "starting"


def test_the_connections_of_a_process_share_what_it_may_ask() -> None:
    world = World(M, settings=SETTINGS)
    one, two, other = world.frontend(), world.frontend(), world.frontend()
    for number in range(10):
        question = parcel("admin", Admin(), ids=(f"question-{number}",), task="queue")
        from_process(world, "process-7", one, question)
    from_process(world, "process-7", two, parcel("admin", Admin(), ids=("one-more",), task="queue"))
    from_process(world, "process-8", other, parcel("admin", Admin(), ids=("others",), task="queue"))

    assert world.ends[two, "one-more"] == ["failed"]
    assert world.ends[other, "others"] == ["reply"]


def test_a_process_behind_a_connection_that_is_gone_is_forgotten() -> None:
    """Each command is another connection, and there are thousands in a month."""
    world = World(M, settings=SETTINGS)
    for number in range(50):
        peer = world.frontend()
        from_process(world, f"process-{number}", peer, parcel("bye", Bye()))

    assert len(world.broker._offences._origins) == 0
