"""The broker under lies, stalls and races: what others do wrong stays theirs."""

from __future__ import annotations

import pytest
from kernel_world import World

from kernel.actions import Kill, Spawn
from kernel.events import MessageReceived, PeerUnreachable, Prepared, PrepareFailed, ProcessExited, TimePassed
from transports.codec import MAX_ENVELOPE_BYTES, encode
from transports.errors import ModelUnavailable
from transports.frames import parcel
from transports.loading import Ready
from transports.messages import Delta, Events, Failed, Hello, Pong
from transports.reports import DoneReply, StatusReply
from transports.settings import KernelSettings

M = "echo/m"
W = f"echo:{M}"


# --- lies -------------------------------------------------------------------------------------


def test_nothing_that_a_worker_says_after_a_lie_is_passed_on() -> None:
    """It may have told a part of the answer under the wrong name: the rest would have a hole."""
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)
    # Between the lie and the end of the process.
    world.is_automatic = False
    nobody = "0" * 32
    lie = parcel("events", Events(items=(Delta(id=nobody, text="half an"),)), ids=(nobody,), peer=peer)
    world.feed(MessageReceived(world.workers[W], lie))

    world.finish(W, request, " answer")
    world.die(W)

    assert world.ends[peer, request] == ["failed"]
    assert world.failure(peer, request).code == "worker_crashed"


def test_a_workers_token_makes_no_frontend() -> None:
    """A frontend may stop the kernel; a worker, whatever runs in it, may not."""
    world = World(M, automatic=False)
    peer = world.frontend()
    world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))
    token = world.spawned[W]

    hello = Hello(role="frontend", kind="echo", name=W, token=token, pid=1, mlxd_version="1")
    world.feed(MessageReceived("climber", parcel("hello", hello)))
    world.admin("climber", "stop", force=True)

    assert world.types("climber") == ["failed", "failed"]
    assert world.exit_code is None


def test_a_failed_message_of_a_worker_ends_all_that_it_names() -> None:
    """A frontend takes it as the end: were it not the end here too, its slot would stay taken."""
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)
    half = parcel("failed", Failed(code="worker_error", message="x"), ids=(request,), peer=peer)

    world.feed(MessageReceived(world.workers[W], half))

    assert Kill(W, "kill") in world.kills
    assert world.ends[peer, request] == ["failed"]


def test_events_about_nothing_are_passed_to_nobody() -> None:
    world = World(M)
    peer = world.frontend()
    world.submit(peer, M)

    world.feed(MessageReceived(world.workers[W], parcel("events", Events(items=()), peer=peer)))

    assert "events" not in world.types(peer)
    assert Kill(W, "kill") in world.kills


def test_a_worker_that_died_before_it_was_ended_crashed_for_its_own_reason() -> None:
    """A message to it may find it gone before the system tells that it ended."""
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)
    world.is_automatic = False

    world.feed(PeerUnreachable(world.workers[W], "no peer has this identity"))
    world.die(W, 1, "RuntimeError: out of luck")

    failure = world.failure(peer, request)
    assert failure.code == "worker_crashed"
    assert "exit code 1: RuntimeError: out of luck" in failure.message


def test_a_worker_without_slots_is_not_ready() -> None:
    world = World(M, automatic=False)
    peer = world.frontend()
    world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))
    worker = world.hello(W)

    world.feed(MessageReceived(worker, parcel("ready", Ready(num_slots=0, context_length=9))))

    assert Kill(W, "kill") in world.kills


# --- stalls -----------------------------------------------------------------------------------


def test_a_kernel_that_stood_still_blames_nobody() -> None:
    """SIGSTOP, a laptop's lid: nobody was pinged meanwhile, so nobody could answer."""
    world = World(M, settings=KernelSettings(frontends=(), hung_after_s=5))
    peer = world.frontend()
    request = world.submit(peer, M)
    worker = world.workers[W]
    world.feed(MessageReceived(worker, parcel("pong", Pong(progress=1, num_active=1))))
    world.advance(1)

    world.now += 600
    world.feed(TimePassed())

    assert not world.kills
    world.say(W, Delta(id=request, text="x"))
    assert "events" in world.types(peer)


def test_a_kernel_that_stood_still_still_notices_the_dead() -> None:
    world = World(M)
    peer = world.frontend()
    world.submit(peer, M)
    world.advance(1)
    world.now += 600
    world.feed(TimePassed())
    world.is_automatic = False

    world.feed_pongs(peer, 7)

    assert Kill(W, "kill") in world.kills


# --- races of loads -------------------------------------------------------------------------


def test_a_load_waits_until_the_last_worker_of_the_model_is_gone() -> None:
    """Both would have one name; the exit of the old one would be taken for the new one's."""
    world = World(M, automatic=False)
    peer = world.frontend()
    world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))
    worker = world.hello(W)
    failed = parcel("failed", Failed(code="model_unavailable", message="bad weights"))
    world.feed(MessageReceived(worker, failed))

    question = world.admin(peer, "load", model=M)
    world.feed(Prepared(M, "/models/m"))
    assert world.num_spawned[W] == 1
    world.die(W, 0)
    world.feed(Prepared(M, "/models/m"))
    assert world.num_spawned[W] == 2
    world.hello(W)
    world.ready(W)

    assert world.reply(peer, question, DoneReply)


def test_a_late_failure_to_prepare_does_not_end_a_running_model() -> None:
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)

    world.feed(PrepareFailed(M, ModelUnavailable("of a load that nobody wants any more")))
    world.finish(W, request)

    assert world.ends[peer, request] == ["events"]


def test_a_model_that_loads_is_not_evicted() -> None:
    world = World("echo/a", "echo/b", settings=KernelSettings(frontends=(), max_models=1), automatic=False)
    peer = world.frontend()
    question = world.admin(peer, "load", model="echo/a")
    world.feed(Prepared("echo/a", "/models/a"))
    worker = world.hello("echo:echo/a")

    world.submit(peer, "echo/b")
    assert "unload" not in world.types(worker)
    world.ready("echo:echo/a")

    assert world.reply(peer, question, DoneReply)
    assert "unload" in world.types(worker)


def test_unloading_a_preloaded_model_lasts() -> None:
    world = World(M, preload=(M,))
    peer = world.frontend()
    world.admin(peer, "unload", model=M)

    world.admin(peer, "models.list")

    assert W not in world.workers


def test_a_server_stays_ready_when_a_preloaded_model_made_room() -> None:
    world = World(M, preload=(M,))
    peer = world.frontend()
    world.admin(peer, "unload", model=M)

    question = world.admin(peer, "status")

    status = world.reply(peer, question, StatusReply)
    assert isinstance(status, StatusReply)
    assert status.is_ready


def test_a_request_whose_model_finds_no_place_fails_in_the_end() -> None:
    settings = KernelSettings(frontends=(), max_models=1, max_queued_s=10, hung_after_s=1e6)
    world = World("echo/a", "echo/b", settings=settings)
    peer = world.frontend()
    world.submit(peer, "echo/a")

    waiting = world.submit(peer, "echo/b")
    world.advance(12)

    assert world.failure(peer, waiting).code == "queue_timeout"


def test_a_forced_unload_says_that_it_was_one() -> None:
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)

    world.admin(peer, "unload", model=M, force=True)

    failure = world.failure(peer, request)
    assert failure.code == "model_unavailable"
    assert "unloaded" in failure.message


def test_an_impossible_spawn_is_an_exit() -> None:
    world = World(M, automatic=False)
    peer = world.frontend()
    request = world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))

    for _ in range(3):
        world.feed(ProcessExited(W, None, ("out of memory",)))
        world.feed_pongs(peer, 2)

    assert len([a for a in world.actions if isinstance(a, Spawn)]) == 3
    assert "could not be started" in world.failure(peer, request).message


# --- the end ----------------------------------------------------------------------------------


def test_requests_that_wait_for_a_look_at_the_disk_end_with_the_kernel() -> None:
    world = World(M, automatic=False)
    peer = world.frontend()
    world.scans = False
    request = world.submit(peer, "echo/new")

    world.stop(now=True)

    assert world.ends[peer, request] == ["failed"]
    assert world.failure(peer, request).code == "shutting_down"


def test_a_crashed_frontends_parked_requests_never_run() -> None:
    world = World(M, settings=KernelSettings(frontends=("http",)), automatic=False)
    peer = world.hello_frontend("frontend:http")
    world.scans = False
    world.submit(peer, "echo/new")

    world.feed(ProcessExited("frontend:http", -9))
    world.scan("echo/new")

    assert not world.prepares


def test_what_fails_together_fits_into_envelopes() -> None:
    world = World(M, settings=KernelSettings(frontends=(), max_queued=2000), automatic=False)
    peer = world.frontend()
    for number in range(1000):
        world.submit(peer, M, request_id=f"{number:064}")

    world.feed(PrepareFailed(M, ModelUnavailable("no network")))

    ends = [message for message in world.inbox[peer] if message.envelope.type == "failed"]
    assert sum(len(message.envelope.finished) for message in ends) == 1000
    assert all(len(encode(message.envelope)) < MAX_ENVELOPE_BYTES for message in world.inbox[peer])


@pytest.mark.parametrize("phase", ["starting", "loading", "ready", "backoff", "preparing"])
def test_the_kernel_ends_whatever_a_worker_is_doing(phase: str) -> None:
    world = World(M, automatic=False)
    peer = world.frontend()
    request = world.submit(peer, M)
    if phase != "preparing":
        world.feed(Prepared(M, "/models/m"))
    if phase in ("loading", "ready", "backoff"):
        world.hello(W)
    if phase in ("ready", "backoff"):
        world.ready(W)
    if phase == "backoff":
        for _ in range(2):
            world.die(W)
            world.feed(TimePassed())

    world.stop()
    world.stop()
    world.is_automatic = True
    world.advance(10)

    assert world.exit_code == 0
    assert world.ends[peer, request] == ["failed"]


def test_visitors_do_not_keep_workers_out() -> None:
    world = World(M, settings=KernelSettings(frontends=(), max_peers=1))
    peer = world.frontend()

    request = world.submit(peer, M)

    assert list(world.running[W]) == [request]
