"""The broker's requests: one end each, whatever happens."""

from __future__ import annotations

from random import Random

import pytest
from kernel_world import World

from kernel.actions import Log, Prepare, ScanCatalog, Spawn
from kernel.events import MessageReceived, PrepareFailed
from kernel.roster import MAX_PAUSE_S, PAUSE_PER_LOOK
from transports.errors import ModelUnavailable
from transports.frames import parcel
from transports.messages import Delta, Done, Events, Usage
from transports.reports import ModelInfo
from transports.settings import KernelSettings

M = "echo/m"
W = f"echo:{M}"


def test_a_request_travels_to_the_worker_and_its_answer_back() -> None:
    world = World(M)
    peer = world.frontend()

    request = world.submit(peer, M)
    world.finish(W, request, "hello")

    assert world.ends[peer, request] == ["events"]
    assert world.inbox[peer][-1].envelope.finished == (request,)


def test_two_requests_for_an_absent_model_cause_one_load() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()

    world.submit(peer, M)
    world.submit(peer, M)

    assert [a for a in world.actions if isinstance(a, Prepare)] == [Prepare(M)]
    assert not [a for a in world.actions if isinstance(a, Spawn)]


def test_a_worker_gets_no_more_requests_than_slots() -> None:
    world = World(M, num_slots=2)
    peer = world.frontend()

    ids = [world.submit(peer, M) for _ in range(5)]

    assert list(world.running[W]) == ids[:2]
    world.finish(W, ids[0])
    assert list(world.running[W]) == [ids[1], ids[2]]


def test_higher_priority_goes_first_and_equals_keep_their_order() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    first = world.submit(peer, M)

    normal = [world.submit(peer, M), world.submit(peer, M)]
    high = world.submit(peer, M, priority=1)
    low = world.submit(peer, M, priority=-1)

    order = []
    running = first
    for _ in range(5):
        world.finish(W, running)
        if not world.running[W]:
            break
        (running,) = world.running[W]
        order.append(running)
    assert order == [high, *normal, low]


def test_a_full_queue_refuses_with_queue_full() -> None:
    world = World(M, num_slots=1, settings=KernelSettings(frontends=(), max_queued=2))
    peer = world.frontend()
    for _ in range(3):
        world.submit(peer, M)

    refused = world.submit(peer, M)

    failure = world.failure(peer, refused)
    assert failure.code == "queue_full"
    # Two wait, each for a second as far as anybody knows.
    assert failure.retry_after_s == 2


def test_queued_bytes_are_bounded() -> None:
    world = World(M, num_slots=1, settings=KernelSettings(frontends=(), max_queued_bytes=60))
    peer = world.frontend()
    world.submit(peer, M)
    world.submit(peer, M)

    refused = world.submit(peer, M)

    assert world.failure(peer, refused).code == "queue_full"


def test_a_request_that_waits_too_long_for_a_slot_fails() -> None:
    world = World(M, num_slots=1, settings=KernelSettings(frontends=(), max_queued_s=10, hung_after_s=1e6))
    peer = world.frontend()
    world.submit(peer, M)
    waiting = world.submit(peer, M)

    world.advance(11)

    assert world.failure(peer, waiting).code == "queue_timeout"


def test_loading_does_not_count_as_waiting_for_a_slot() -> None:
    world = World(M, settings=KernelSettings(frontends=(), max_queued_s=10))
    world.is_automatic = False
    peer = world.frontend()
    request = world.submit(peer, M)

    world.advance(4)  # Nobody pongs: the frontend must not count as dead yet.
    assert (peer, request) not in world.ends


def test_a_request_with_its_own_timeout_fails_then() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    world.submit(peer, M)
    waiting = world.submit(peer, M, timeout_s=2)

    world.advance(3)

    assert world.failure(peer, waiting).code == "queue_timeout"


def test_cancelling_a_running_request_reaches_the_worker() -> None:
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)

    world.cancel(peer, request)

    assert "cancel" in world.types(world.workers[W])
    assert world.ends[peer, request] == ["events"]


def test_cancelling_a_queued_request_ends_it_without_the_worker() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    world.submit(peer, M)
    waiting = world.submit(peer, M)

    world.cancel(peer, waiting)

    assert "cancel" not in world.types(world.workers[W])
    assert world.ends[peer, waiting] == ["events"]


def test_nobody_cancels_the_requests_of_others() -> None:
    world = World(M, num_slots=1)
    owner, stranger = world.frontend(), world.frontend()
    running, waiting = world.submit(owner, M), world.submit(owner, M)

    world.cancel(stranger, running, waiting)

    assert not world.ends
    assert "cancel" not in world.types(world.workers[W])


def test_a_crash_fails_what_ran_and_keeps_what_waited() -> None:
    world = World(M, num_slots=1)
    peer = world.frontend()
    running, waiting = world.submit(peer, M), world.submit(peer, M)

    world.die(W, -11)

    failure = world.failure(peer, running)
    assert failure.code == "worker_crashed"
    assert "signal 11" in failure.message
    world.advance(1)
    world.finish(W, waiting)
    assert world.ends[peer, waiting] == ["events"]


def test_a_lost_frontend_frees_its_slots_and_its_queue() -> None:
    world = World(M, num_slots=1)
    gone, other = world.frontend(), world.frontend()
    world.submit(gone, M)
    world.submit(gone, M)
    kept = world.submit(other, M)

    world.bye(gone)

    assert list(world.running[W]) == [kept]


def test_an_unreachable_frontend_is_a_lost_one() -> None:
    world = World(M, num_slots=1)
    gone, other = world.frontend(), world.frontend()
    request = world.submit(gone, M)
    kept = world.submit(other, M)
    world.unreachable.add(gone)

    world.say(W, Delta(id=request, text="x"))

    assert list(world.running[W]) == [kept]


def test_a_model_that_cannot_be_prepared_fails_those_who_wait() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()
    request = world.submit(peer, M)

    world.feed(PrepareFailed(M, ModelUnavailable("no network")))

    assert world.failure(peer, request).message == "no network"
    again = world.submit(peer, M)
    assert world.failure(peer, again).message == "no network"
    assert world.broker._residency.get(M) is None


def test_bytes_that_wait_for_a_look_at_the_disk_are_bounded() -> None:
    world = World(M, settings=KernelSettings(frontends=(), max_queued_bytes=60))
    world.scans = False
    peer = world.frontend()
    kept = world.submit(peer, "echo/unknown")

    refused = world.submit(peer, "echo/unknown")

    assert world.failure(peer, refused).code == "queue_full"
    assert world.ends[peer, kept] == []


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    world = World(M, "echo/other")
    peer = world.frontend()

    request = world.submit(peer, "nope")

    failure = world.failure(peer, request)
    assert failure.code == "model_not_found"
    assert "echo/m, echo/other" in failure.message
    assert failure.param == "model"


def test_a_model_that_appeared_since_the_last_scan_is_found() -> None:
    world = World(M)
    peer = world.frontend()
    world.models["echo/new"] = ModelInfo(name="echo/new", kind="echo", state="available", source="folder")

    request = world.submit(peer, "echo/new")

    assert list(world.running["echo:echo/new"]) == [request]


@pytest.mark.parametrize("forge", ["id", "peer", "finished"])
def test_a_worker_that_speaks_of_foreign_requests_is_ended(forge: str) -> None:
    world = World(M, "echo/other")
    peer, other_peer = world.frontend(), world.frontend()
    mine, foreign = world.submit(peer, M), world.submit(other_peer, "echo/other")
    done = Done(id=foreign, finish_reason="stop", usage=Usage(prompt_tokens=0, completion_tokens=0))
    message = {
        "id": parcel("events", Events(items=(done,)), ids=(foreign,), finished=(foreign,), peer=other_peer),
        "peer": parcel("events", Events(items=()), ids=(mine,), peer=other_peer),
        "finished": parcel("events", Events(items=()), ids=(mine,), finished=(foreign,), peer=peer),
    }[forge]

    world.feed(MessageReceived(world.workers[W], message))

    assert world.ends[peer, mine] == ["failed"]
    assert (other_peer, foreign) not in world.ends


@pytest.mark.parametrize("seed", range(60))
def test_every_request_ends_exactly_once_under_random_faults(seed: int) -> None:
    random = Random(seed)
    models = ("echo/a", "echo/b", "echo/c")
    settings = KernelSettings(frontends=(), max_queued=6, max_models=2, max_queued_s=20, hung_after_s=1e6)
    world = World(*models, settings=settings)
    peers = [world.frontend() for _ in range(3)]
    submitted: list[tuple[str, str]] = []
    lost: set[str] = set()
    for _ in range(200):
        alive = [peer for peer in peers if peer not in lost]
        running = [(name, i) for name, ids in world.running.items() for i in ids if name in world.workers]
        match random.choice(
            ("submit", "submit", "submit", "finish", "finish", "cancel", "die", "time", "admin", "leave")
        ):
            case "submit":
                peer = random.choice(alive)
                submitted.append(
                    (peer, world.submit(peer, random.choice(models), priority=random.choice((-1, 0, 1))))
                )
            case "finish" if running:
                world.finish(*random.choice(running))
            case "cancel" if submitted:
                peer, request = random.choice(submitted)
                if peer not in lost:
                    world.cancel(peer, request)
            case "die" if world.workers and random.random() < 0.3:
                world.die(random.choice(list(world.workers)), random.choice((-9, -6, 1)))
            case "time":
                world.advance(random.choice((0.1, 1, 5)))
            case "admin":
                model = random.choice(models)
                world.admin(
                    random.choice(alive),
                    random.choice(("load", "unload")),
                    model=model,
                    force=random.random() < 0.5,
                )
            case "leave" if random.random() < 0.1:
                peer = random.choice(alive)
                lost.add(peer)
                world.unreachable.add(peer)
                peers.append(world.frontend())
    world.stop()
    world.advance(60)

    assert world.exit_code == 0, f"seed {seed}"
    for peer, request in submitted:
        if peer not in lost:
            assert len(world.ends[peer, request]) == 1, f"seed {seed}: {request} {world.ends[peer, request]}"


def test_a_command_that_ends_is_no_news() -> None:
    """Each `mlxd ps` would write a line on the terminal of `mlxd serve`."""
    world = World(M)
    world.bye(world.frontend())

    assert [a.level for a in world.actions if isinstance(a, Log) and a.event == "peer_left"] == ["debug"]


@pytest.mark.parametrize(("look_s", "pause_s"), [(0.01, 0.01 * PAUSE_PER_LOOK), (3.0, MAX_PAUSE_S)])
def test_names_that_are_not_known_are_looked_for_seldom(look_s: float, pause_s: float) -> None:
    """Who asks for nonsense again and again would keep the disk and a core busy."""
    world = World(M)
    peer = world.frontend()
    world.scans = False
    first = world.submit(peer, "no/such")
    world.advance(look_s)
    world.scans = True
    world.look()
    assert world.failure(peer, first).code == "model_not_found"

    def num_scans() -> int:
        return sum(isinstance(action, ScanCatalog) for action in world.actions)

    before = num_scans()
    later = [world.submit(peer, f"no/{number}") for number in range(20)]
    world.advance(0.9 * pause_s)
    assert num_scans() == before
    assert [world.ends[peer, request] for request in later] == [[]] * 20

    world.advance(0.11 * pause_s)

    assert num_scans() == before + 1
    assert [world.ends[peer, request] for request in later] == [["failed"]] * 20


def test_a_model_that_has_just_come_is_found_by_the_next_look() -> None:
    world = World(M)
    peer = world.frontend()
    world.submit(peer, "no/such")

    world.models["echo/new"] = ModelInfo(name="echo/new", kind="echo", state="available", source="folder")
    request = world.submit(peer, "echo/new")
    world.advance(MAX_PAUSE_S)

    assert list(world.running["echo:echo/new"]) == [request]
