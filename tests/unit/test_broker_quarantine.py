"""The broker and requests that end their worker: they run alone, and after a second time not at all."""

from __future__ import annotations

import pytest
from kernel_world import World

from kernel.actions import Kill
from kernel.events import MessageReceived, PeerUnreachable
from transports.frames import parcel
from transports.messages import Failed
from transports.settings import KernelSettings

M = "echo/m"
W = f"echo:{M}"


def crash(world: World) -> None:
    """The worker dies and is there again."""
    world.die(W, -6)
    world.advance(1)


def running(world: World) -> list[str]:
    return list(world.running[W])


def test_the_second_death_convicts_and_a_third_does_not_happen() -> None:
    world = World(M)
    peer = world.frontend()
    for _ in range(2):
        world.submit(peer, M, fingerprint="poison")
        crash(world)

    refused = world.submit(peer, M, fingerprint="poison")

    failure = world.failure(peer, refused)
    assert failure.code == "poison_request"
    assert not running(world)
    assert world.num_spawned[W] == 3
    world.finish(W, world.submit(peer, M, fingerprint="good"))


def test_after_the_quarantine_it_is_tried_again() -> None:
    world = World(M, settings=KernelSettings(frontends=(), quarantine_s=50))
    peer = world.frontend()
    for _ in range(2):
        world.submit(peer, M, fingerprint="poison")
        crash(world)
    world.advance(50)

    request = world.submit(peer, M, fingerprint="poison")

    assert running(world) == [request]


def test_a_suspect_waits_until_it_is_alone_and_nobody_joins_it() -> None:
    world = World(M, num_slots=3)
    peer = world.frontend()
    world.submit(peer, M, fingerprint="suspect")
    crash(world)

    first = world.submit(peer, M, fingerprint="first")
    suspect = world.submit(peer, M, fingerprint="suspect")
    after = world.submit(peer, M, fingerprint="after")
    assert running(world) == [first]
    world.finish(W, first)
    assert running(world) == [suspect]
    world.finish(W, suspect)

    assert running(world) == [after]


def test_only_the_guilty_one_of_a_batch_is_convicted() -> None:
    world = World(M, num_slots=4)
    peer = world.frontend()
    batch = ("one", "two", "poison", "three")
    for fingerprint in batch:
        world.submit(peer, M, fingerprint=fingerprint)
    crash(world)
    asked = {world.submit(peer, M, fingerprint=fingerprint): fingerprint for fingerprint in batch}
    for _ in batch:
        (request,) = running(world)
        if asked[request] == "poison":
            crash(world)
        else:
            world.finish(W, request)

    assert [asked[id_] for id_ in asked if world.ends[peer, id_] == ["failed"]] == ["poison"]
    again = {fingerprint: world.submit(peer, M, fingerprint=fingerprint) for fingerprint in batch}
    assert world.failure(peer, again["poison"]).code == "poison_request"
    assert running(world) == [again[name] for name in ("one", "two", "three")]


def test_a_request_that_waits_while_its_twin_is_convicted_does_not_run() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    world.submit(peer, M, fingerprint="poison")
    crash(world)
    world.submit(peer, M, fingerprint="poison")
    twin = world.submit(peer, M, fingerprint="poison")
    other = world.submit(peer, M, fingerprint="other")
    crash(world)

    assert world.failure(peer, twin).code == "poison_request"
    assert running(world) == [other]


def test_a_suspect_that_leaves_the_queue_keeps_nobody_waiting() -> None:
    for leave in ("cancel", "bye", "timeout"):
        world = World(M, num_slots=2)
        peer, other_peer = world.frontend(), world.frontend()
        world.submit(peer, M, fingerprint="suspect")
        crash(world)
        first = world.submit(other_peer, M)
        suspect = world.submit(peer, M, fingerprint="suspect", timeout_s=2)
        after = world.submit(other_peer, M)
        assert running(world) == [first]
        match leave:
            case "cancel":
                world.cancel(peer, suspect)
            case "bye":
                world.bye(peer)
            case "timeout":
                world.advance(3)

        assert running(world) == [first, after], leave


def test_a_worker_that_had_to_be_killed_counts_like_a_dead_one() -> None:
    world = World(M)
    peer = world.frontend()
    for _ in range(2):
        world.submit(peer, M, fingerprint="poison")
        world.feed(PeerUnreachable(world.workers[W], "it takes no messages"))
        world.advance(1)

    refused = world.submit(peer, M, fingerprint="poison")

    assert Kill(W, "kill") in world.kills
    assert world.failure(peer, refused).code == "poison_request"


@pytest.mark.parametrize("how", ["unload", "before it was sent", "cancelled by its worker"])
def test_what_is_not_the_requests_fault_does_not_count(how: str) -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    for _ in range(2):
        if how == "before it was sent":
            world.submit(peer, M, fingerprint="in the way")
            waiting = world.submit(peer, M, fingerprint="innocent")
            world.die(W, -9)
            world.cancel(peer, waiting)
            world.advance(1)
            world.broker._dispatcher._quarantine.clear("in the way")
        elif how == "unload":
            world.submit(peer, M, fingerprint="innocent")
            world.admin(peer, "unload", model=M, force=True)
        else:
            world.cancel(peer, world.submit(peer, M, fingerprint="innocent"))
            world.die(W, -9)
            world.advance(1)

    world.submit(peer, M, fingerprint="other")
    assert not world.broker._dispatcher._quarantine.is_suspect("innocent", world.now)


def test_a_worker_that_fails_a_suspect_and_lives_clears_it() -> None:
    world = World(M)
    peer = world.frontend()
    world.submit(peer, M, fingerprint="suspect")
    crash(world)
    suspect = world.submit(peer, M, fingerprint="suspect")
    world.running[W].pop(suspect)
    body = Failed(code="worker_error", message="x")
    failed = parcel("failed", body, ids=(suspect,), finished=(suspect,), peer=peer)
    world.feed(MessageReceived(world.workers[W], failed))

    both = [world.submit(peer, M, fingerprint="suspect"), world.submit(peer, M)]

    assert running(world) == both


def test_a_suspect_that_was_cancelled_stays_one() -> None:
    world = World(M)
    peer = world.frontend()
    world.submit(peer, M, fingerprint="suspect")
    crash(world)
    world.cancel(peer, world.submit(peer, M, fingerprint="suspect"))

    suspect = world.submit(peer, M, fingerprint="suspect")
    world.submit(peer, M)

    assert running(world) == [suspect]
