"""Status tells why something does not run, since when, and when it is tried again."""

from __future__ import annotations

import pytest
from kernel_world import World

from kernel.actions import Log
from kernel.events import Measured, MessageReceived, PrepareFailed, ProcessExited
from transports.errors import EnvironmentFailed
from transports.frames import parcel
from transports.messages import Pong
from transports.reports import DoneReply, ModelsReply, StatusReply, WorkerInfo
from transports.settings import KernelSettings

M = "echo/m"
W = f"echo:{M}"


def worker_in(world: World) -> WorkerInfo:
    peer = world.frontend()
    reply = world.reply(peer, world.admin(peer, "status"), StatusReply)
    assert isinstance(reply, StatusReply)
    (worker,) = reply.workers
    return worker


def crash(world: World, times: int) -> None:
    for _ in range(times):
        world.die(W, -6, "first line", "it broke")
        while W not in world.workers and worker_in(world).state == "backoff":
            world.advance(0.1)


def test_a_crash_loop_is_called_by_its_name_with_its_last_words() -> None:
    world = World(M, preload=(M,))

    crash(world, 6)
    world.advance(100)

    worker = worker_in(world)
    assert worker.state == "crash-looped"
    assert worker.error == "signal 6: it broke"
    assert worker.last_words == ("first line", "it broke")
    assert worker.uptime_s == pytest.approx(100, abs=1)
    assert worker.retry_in_s == pytest.approx(200, abs=1)


def test_a_request_for_it_is_told_when_it_is_tried_again() -> None:
    world = World(M, preload=(M,))
    crash(world, 6)
    peer = world.frontend()

    request = world.submit(peer, M)

    failure = world.failure(peer, request)
    assert failure.code == "model_unavailable"
    assert "it broke" in failure.message
    assert failure.retry_after_s == pytest.approx(300, abs=1)


def test_it_is_tried_once_after_the_long_wait() -> None:
    world = World(M, preload=(M,))
    crash(world, 6)

    world.advance(301)
    assert worker_in(world).state == "ready"
    crash(world, 1)

    assert worker_in(world).state == "crash-looped"


def test_a_model_that_cannot_be_loaded_is_told_with_the_reason() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()
    world.submit(peer, M)

    world.feed(PrepareFailed(M, EnvironmentFailed("no network")))
    world.advance(10)

    worker = worker_in(world)
    assert (worker.state, worker.error) == ("failed", "no network")
    assert (worker.uptime_s, worker.retry_in_s) == (10, 20)


def test_a_model_on_its_way_is_told_with_its_progress() -> None:
    world = World(M)
    world.is_automatic = False
    world.submit(world.frontend(), M)

    worker = worker_in(world)
    assert worker.state == "preparing"
    assert worker.num_queued == 1
    assert worker.progress


@pytest.mark.parametrize(
    ("pong", "after_s", "said"),
    [
        (Pong(progress=1, num_active=1), 20, "no progress for 20 s while it decoded"),
        (
            Pong(progress=1, num_active=2, num_prefilling=1),
            60,
            "no progress for 60 s while it read a prompt",
        ),
    ],
)
def test_a_hang_says_in_which_phase(pong: Pong, after_s: int, said: str) -> None:
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)
    world.is_automatic = False

    for _ in range(after_s - 1):
        world.feed(MessageReceived(world.workers[W], parcel("pong", pong)))
        world.feed_pongs(peer, 1)
    assert not world.kills
    for _ in range(3):
        world.feed(MessageReceived(world.workers[W], parcel("pong", pong)))
        world.feed_pongs(peer, 1)
    world.die(W)

    assert said in world.failure(peer, request).message


def test_every_change_of_state_is_logged() -> None:
    world = World(M, settings=KernelSettings(frontends=(), max_crashes=1))
    peer = world.frontend()
    world.admin(peer, "load", model=M)

    world.die(W, 1, "bad")
    world.advance(0.1)
    world.feed(ProcessExited(W, 1, ("bad",)))
    world.admin(peer, "unload", model=M)

    logged = [
        (action.fields["state"], action.fields.get("reason"))
        for action in world.actions
        if isinstance(action, Log) and action.event == "process_changed"
    ]
    alive = [("starting", None), ("loading", None), ("ready", None)]
    assert logged == [
        *alive,
        ("backoff", "exit code 1: bad"),
        *alive,
        ("crash-looped", "exit code 1: bad"),
        ("stopped", None),
    ]


def test_a_model_that_changed_on_disk_serves_on_and_says_so() -> None:
    world = World(M)
    world.fingerprints[M] = "old"
    peer = world.frontend()
    world.admin(peer, "load", model=M)

    world.fingerprints[M] = "new"
    question = world.admin(peer, "models.list")

    reply = world.reply(peer, question, ModelsReply)
    assert isinstance(reply, ModelsReply)
    assert [(model.state, model.is_changed) for model in reply.models] == [("ready", True)]
    assert "changed on disk" in worker_in(world).notes[0]
    request = world.submit(peer, M)
    assert list(world.running[W]) == [request]

    world.finish(W, request)
    world.admin(peer, "unload", model=M)
    world.admin(peer, "load", model=M)
    assert worker_in(world).notes == ()


def test_a_model_that_left_the_disk_serves_on_and_says_so() -> None:
    world = World(M)
    peer = world.frontend()
    world.admin(peer, "load", model=M)

    del world.models[M]
    world.admin(peer, "models.list")

    assert worker_in(world).notes == ("gone from the disk since it was loaded",)


def waiting_for(world: World) -> tuple[bool, tuple[str, ...]]:
    peer = world.frontend()
    status = world.reply(peer, world.admin(peer, "status"), StatusReply)
    assert isinstance(status, StatusReply)
    return status.is_ready, status.waiting_for


def test_a_frontend_that_cannot_run_keeps_nobody_waiting_who_has_another() -> None:
    world = World(settings=KernelSettings(frontends=("http", "door")), automatic=False)
    world.feed(ProcessExited("frontend:door", 2, ("mlxd: no such package",)))
    assert waiting_for(world)[0] is False

    world.hello_frontend("frontend:http")
    assert waiting_for(world) == (True, ())


def test_without_any_frontend_that_runs_it_is_not_ready() -> None:
    world = World(settings=KernelSettings(frontends=("door",)), automatic=False)
    world.feed(ProcessExited("frontend:door", 2, ("mlxd: no such package",)))

    assert waiting_for(world) == (False, ("frontend door: no such package",))


def workers_in(world: World) -> dict[str, WorkerInfo]:
    peer = world.frontend()
    reply = world.reply(peer, world.admin(peer, "status"), StatusReply)
    assert isinstance(reply, StatusReply)
    return {worker.model: worker for worker in reply.workers}


def test_a_model_without_a_place_says_who_has_it() -> None:
    world = World("echo/a", "echo/b", settings=KernelSettings(frontends=(), max_models=1))
    peer = world.frontend()
    world.submit(peer, "echo/a")
    world.advance(1)
    world.submit(peer, "echo/b")

    world.advance(7)

    waiting = workers_in(world)["echo/b"]
    assert waiting.state == "waiting"
    assert waiting.error == "no place in memory: it waits for echo/a to be done"
    assert waiting.uptime_s == 7


def test_a_model_without_a_place_says_who_leaves_for_it() -> None:
    world = World("echo/a", "echo/b", settings=KernelSettings(frontends=(), max_models=1))
    peer = world.frontend()
    world.finish("echo:echo/a", world.submit(peer, "echo/a"))
    world.is_automatic = False

    world.submit(peer, "echo/b")

    assert workers_in(world)["echo/b"].error == "no place in memory: it waits for echo/a to leave"


def test_a_model_kept_out_says_that_memory_is_short() -> None:
    world = World(M)
    world.measured = Measured(pressure_level=4)
    world.advance(KernelSettings().memory_interval_s)

    world.submit(world.frontend(), M)

    assert workers_in(world)[M].error.startswith("no model is loaded now: macOS says")


def test_an_idle_model_says_when_it_leaves() -> None:
    world = World(M, settings=KernelSettings(frontends=(), idle_unload_s=100))
    peer = world.frontend()
    request = world.submit(peer, M)

    assert workers_in(world)[M].leaves_in_s is None
    world.finish(W, request)
    world.advance(30)
    assert workers_in(world)[M].leaves_in_s == pytest.approx(70, abs=1)
    world.reply(peer, world.admin(peer, "pin", model=M), DoneReply)
    assert workers_in(world)[M].leaves_in_s is None
