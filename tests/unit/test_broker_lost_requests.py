"""Requests that a worker has lost while it goes on end alone, and none that it still has."""

from __future__ import annotations

from random import Random

import pytest
from kernel_world import World

from kernel.actions import Send
from kernel.events import MessageReceived
from transports.codec import decode_body
from transports.frames import parcel
from transports.messages import MAX_IDS_ASKED, Ping, Pong
from transports.settings import KernelSettings

M = "echo/m"
W = "echo:echo/m"
HEARTBEAT_S = 1.0


def world_of(num_slots: int = 2) -> World:
    settings = KernelSettings(frontends=(), heartbeat_s=HEARTBEAT_S, hung_after_s=20)
    return World(M, preload=(M,), settings=settings, num_slots=num_slots)


def pong(world: World, *unknown: str) -> None:
    message = parcel("pong", Pong(progress=int(world.now * 10), num_active=1, unknown=unknown))
    world.feed(MessageReceived(world.workers[W], message))


def asked(world: World) -> tuple[str, ...]:
    """What the newest ping to the worker asks for."""
    sent = [a.message for a in world.actions if isinstance(a, Send) and a.peer == world.workers[W]]
    pings = [message for message in sent if message.envelope.type == "ping"]
    return decode_body(pings[-1].body, Ping).running


def test_a_lost_request_fails_within_three_heartbeats_and_the_other_goes_on() -> None:
    world = world_of()
    peer = world.frontend()
    lost, kept, waiting = (world.submit(peer, M) for _ in range(3))
    world.forget(W, lost)

    world.advance(3 * HEARTBEAT_S)

    assert "worker_error" == world.failure(peer, lost).code
    assert {kept, waiting} == set(world.running[W])
    assert not world.kills


def test_one_pong_without_a_request_may_have_crossed_its_end() -> None:
    world = world_of()
    peer = world.frontend()
    request = world.submit(peer, M)
    world.is_automatic = False

    pong(world, request)
    world.now += HEARTBEAT_S
    pong(world)
    world.now += HEARTBEAT_S
    pong(world, request)

    assert not world.ends


def test_two_pongs_at_once_are_one_look() -> None:
    world = world_of()
    peer = world.frontend()
    request = world.submit(peer, M)
    world.is_automatic = False

    pong(world, request)
    pong(world, request)
    assert not world.ends
    world.now += HEARTBEAT_S
    pong(world, request)

    assert {(peer, request): ["failed"]} == world.ends


def test_a_ping_asks_for_the_oldest_requests() -> None:
    world = world_of(num_slots=MAX_IDS_ASKED + 1)
    peer = world.frontend()
    requests = [world.submit(peer, M) for _ in range(MAX_IDS_ASKED + 1)]
    world.advance(HEARTBEAT_S)

    assert tuple(requests[:MAX_IDS_ASKED]) == asked(world)


def test_what_is_not_this_workers_is_not_ended_by_its_pong() -> None:
    world = World(M, "echo/n", settings=KernelSettings(frontends=()), preload=(M, "echo/n"))
    peer = world.frontend()
    request = world.submit(peer, "echo/n")

    for _ in range(3):
        world.now += HEARTBEAT_S
        pong(world, request)

    assert not world.ends


@pytest.mark.parametrize("seed", range(50))
def test_every_request_ends_once_though_workers_lose_some(seed: int) -> None:
    random = Random(seed)
    world = world_of(num_slots=4)
    peer = world.frontend()
    requests = []
    for _ in range(60):
        requests.append(world.submit(peer, M))
        world.advance(random.choice((0.0, 0.3, 1.2)))
        if world.running[W]:
            request = random.choice(list(world.running[W]))
            random.choice((world.forget, world.finish))(W, request)
    for _ in range(100):
        for request in list(world.running[W]):
            world.finish(W, request)
        world.advance(HEARTBEAT_S)

    assert [1] * len(requests) == [len(world.ends[peer, request]) for request in requests], f"seed {seed}"
    assert not world.kills
