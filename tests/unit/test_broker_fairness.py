"""The broker among clients: places in the queue, turns, limits of time and of requests."""

from __future__ import annotations

from random import Random

import pytest
from kernel_world import World

from kernel.model_queue import MAX_PASSED
from transports.codec import decode_body
from transports.messages import Progress
from transports.reports import QueueReply, StatusReply
from transports.settings import KernelSettings

M = "echo/m"
W = f"echo:{M}"


def served(world: World, num: int) -> list[str]:
    """The ids in the order in which the only slot serves them, a second each."""
    order = []
    for _ in range(num):
        (running,) = world.running[W]
        order.append(running)
        world.advance(1)
        world.finish(W, running)
    return order


def test_clients_of_one_frontend_take_turns() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    many = [world.submit(peer, M, client="many") for _ in range(4)]
    few = world.submit(peer, M, client="few")

    assert served(world, 5) == [many[0], few, *many[1:]]


def test_clients_of_two_frontends_are_different_ones() -> None:
    world = World(M, num_slots=1)
    mine = [world.submit(world.frontend(), M) for _ in range(3)]
    other = world.submit(world.frontend(), M)

    assert served(world, 4) == [*mine, other]


def test_one_client_cannot_keep_another_out() -> None:
    world = World(M, num_slots=1, settings=KernelSettings(frontends=(), max_queued=4))
    peer = world.frontend()
    many = [world.submit(peer, M, client="many") for _ in range(6)]
    few = world.submit(peer, M, client="few")

    assert world.failure(peer, many[5]).code == "queue_full"
    failure = world.failure(peer, many[4])
    assert failure.code == "queue_full"
    assert "gave its place" in failure.message
    assert world.ends[peer, few] == []
    assert served(world, 5) == [many[0], few, *many[1:4]]


def test_retry_after_is_the_time_that_the_queue_takes() -> None:
    world = World(M, num_slots=2, settings=KernelSettings(frontends=(), max_queued=6))
    peer = world.frontend()
    for _ in range(2):
        world.submit(peer, M)
    world.advance(4)
    for request in list(world.running[W]):
        world.finish(W, request)
    for _ in range(8):
        world.submit(peer, M)

    refused = world.submit(peer, M)

    # Six wait, two go at a time, four seconds each.
    assert world.failure(peer, refused).retry_after_s == 12


def test_deadlines_end_requests_in_order_and_they_never_run() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    running = world.submit(peer, M)
    late, early = world.submit(peer, M, timeout_s=3), world.submit(peer, M, timeout_s=0.5)

    world.advance(4)
    world.finish(W, running)

    ended = [id_ for message in world.inbox[peer] for id_ in message.envelope.finished]
    assert ended == [early, late, running]
    assert world.failure(peer, early).message.startswith(f"{M}: waited 0.5 s for a free slot")
    assert not world.running[W]


def test_a_deadline_holds_while_the_model_is_loaded() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()
    request = world.submit(peer, M, timeout_s=2)

    world.advance(3)

    failure = world.failure(peer, request)
    assert failure.code == "queue_timeout"
    assert "for its model to be loaded" in failure.message


def test_a_client_over_its_rate_is_refused_and_others_are_not() -> None:
    settings = KernelSettings(frontends=(), max_requests_per_client_per_minute=2)
    world = World(M, settings=settings)
    peer = world.frontend()
    for _ in range(2):
        world.finish(W, world.submit(peer, M, client="quick"))

    refused = world.submit(peer, M, client="quick")
    other = world.submit(peer, M, client="slow")

    failure = world.failure(peer, refused)
    assert (failure.code, failure.retry_after_s) == ("rate_limited", 30)
    assert list(world.running[W]) == [other]


def test_a_frontend_with_too_many_open_requests_is_told_to_come_back() -> None:
    """A full house is no mistake of the client that the frontend asks for."""
    world = World(M, num_slots=1, settings=KernelSettings(frontends=(), max_requests_per_peer=2))
    peer = world.frontend()
    for _ in range(2):
        world.submit(peer, M)

    refused = world.submit(peer, M)

    assert world.failure(peer, refused).code == "queue_full"


def test_those_who_wait_are_told_where_they_stand_when_that_changes() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    running = world.submit(peer, M)
    normal, high = world.submit(peer, M), world.submit(peer, M, priority=1)

    world.advance(5)
    assert positions(world, peer) == {normal: [2], high: [1]}
    world.finish(W, running)
    world.advance(5)

    assert positions(world, peer) == {normal: [2, 1], high: [1]}


def test_the_queue_is_shown_without_what_is_asked() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    world.submit(peer, M)
    for client, priority in (("late", -1), ("first", 0)):
        world.submit(peer, M, client=client, priority=priority)
    world.advance(2)

    reply = world.reply(peer, world.admin(peer, "queue"), QueueReply)
    status = world.reply(peer, world.admin(peer, "status"), StatusReply)

    assert isinstance(reply, QueueReply) and isinstance(status, StatusReply)
    first, late = reply.requests
    assert (first.client, first.position, first.frontend, first.priority) == ("first", 1, peer, 0)
    assert (late.client, late.position, late.waited_s, late.priority) == ("late", 2, 2.0, -1)
    (worker,) = status.workers
    assert (worker.num_active, worker.num_queued, worker.oldest_wait_s, worker.num_started) == (1, 2, 2.0, 1)


@pytest.mark.parametrize("seed", range(12))
def test_everybody_is_served_whatever_comes(seed: int) -> None:
    """Priorities, clients, dying workers and suspects: each accepted request gets its turn."""
    random = Random(seed)
    settings = KernelSettings(frontends=(), max_queued=12, max_queued_s=1e6, hung_after_s=1e6)
    world = World(M, num_slots=random.choice((1, 3)), settings=settings)
    peer = world.frontend()
    waits: dict[str, int] = {}
    num_ended = longest = 0
    for _ in range(300):
        if random.random() < 0.6:
            request = world.submit(
                peer,
                M,
                client=random.choice("abc"),
                priority=random.choices((1, 0, -1), (8, 3, 1))[0],
                fingerprint=random.choice(("", *"uvwxyz")),
            )
            waits[request] = num_ended
        elif world.running[W]:
            num_ended += 1
            world.finish(W, random.choice(list(world.running[W])))
        if random.random() < 0.03 and W in world.workers:
            num_ended += len(world.running[W])
            world.die(W)
        world.advance(random.choice((0.0, 1.0)))
        for request in [id_ for id_ in waits if id_ in world.running[W] or world.ends[peer, id_]]:
            longest = max(longest, num_ended - waits.pop(request))
    # A worker that crashes again and again is tried again after kernel.crash_loop_retry_s.
    world.advance(400)
    while world.running[W]:
        world.finish(W, next(iter(world.running[W])))

    assert longest <= 12 * (MAX_PASSED + 2), f"seed {seed}: {longest}"
    assert not len(world.broker._dispatcher), f"seed {seed}"


def test_waits_are_added_up_also_when_nobody_waits_any_more() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    for _ in range(2):
        world.submit(peer, M)
    served(world, 2)

    status = world.reply(peer, world.admin(peer, "status"), StatusReply)

    assert isinstance(status, StatusReply)
    (worker,) = status.workers
    assert (worker.num_queued, worker.num_started, worker.waited_s) == (0, 2, 1.0)


def positions(world: World, peer: str) -> dict[str, list[int]]:
    """What each request was told of its place, in order."""
    told: dict[str, list[int]] = {}
    for message in world.inbox[peer]:
        if message.envelope.type == "progress":
            progress = decode_body(message.body, Progress)
            if progress.position:
                told.setdefault(message.envelope.ids[0], []).append(progress.position)
    return told
