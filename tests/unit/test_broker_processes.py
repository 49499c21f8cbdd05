"""The broker's processes: start, liveness, restart, eviction, drain."""

from __future__ import annotations

import pytest
from kernel_world import World

from kernel.actions import Kill
from kernel.events import (
    MessageReceived,
    PeerUnreachable,
    Prepared,
    PrepareFailed,
    ProcessExited,
    StopRequested,
    TimePassed,
)
from transports.codec import decode_body
from transports.errors import EnvironmentFailed
from transports.frames import parcel
from transports.loading import Load
from transports.messages import Failed, Hello, Pong
from transports.reports import DoneReply, ModelsReply
from transports.settings import KernelSettings, ModelOptions

M = "echo/m"
W = f"echo:{M}"


def load_settings(world: World, worker: str) -> dict[str, str | int | float | bool | None]:
    """What the worker was told to load with."""
    inbox = world.inbox[world.workers[worker]]
    return next(decode_body(m.body, Load).settings for m in inbox if m.envelope.type == "load")


def test_an_idle_worker_that_dies_is_started_again_at_once() -> None:
    world = World(M, preload=(M,))

    world.die(W)
    world.advance(0.01)

    assert world.num_spawned[W] == 2
    assert W in world.workers


def test_a_worker_is_told_its_kind_s_settings_with_those_of_its_model_in_their_place() -> None:
    world = World(M, "echo/other", options={M: ModelOptions(num_slots=3, max_context_tokens=64)})
    peer = world.frontend()

    world.submit(peer, M)
    world.submit(peer, "echo/other")

    assert {"num_slots": 3, "step_s": 0.5, "max_context_tokens": 64} == load_settings(world, W)
    assert {"num_slots": 1, "step_s": 0.5} == load_settings(world, "echo:echo/other")


def test_a_worker_that_crashes_at_start_stays_down_after_three_times() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()
    request = world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))

    for _ in range(3):
        assert W in world.spawned
        world.die(W, 1, "ImportError: no libwhatever")
        world.feed_pongs(peer, 5)

    assert world.num_spawned[W] == 3
    failure = world.failure(peer, request)
    assert failure.code == "model_unavailable"
    assert "no libwhatever" in failure.message


def test_a_crash_looped_worker_is_tried_again_when_an_administrator_asks() -> None:
    world = World(M, settings=KernelSettings(frontends=(), max_start_crashes=1))
    world.is_automatic = False
    peer = world.frontend()
    world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))
    world.die(W, 1)

    world.admin(peer, "load", model=M)
    world.feed(TimePassed())

    assert world.num_spawned[W] == 2


def test_a_worker_without_hello_is_killed() -> None:
    world = World(M, settings=KernelSettings(frontends=(), start_timeout_s=3))
    world.is_automatic = False
    peer = world.frontend()
    world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))

    world.feed_pongs(peer, 4)

    assert Kill(W, "kill") in world.kills


def test_a_worker_without_pongs_is_killed_and_its_requests_fail() -> None:
    world = World(M, settings=KernelSettings(frontends=(), dead_after_s=5))
    peer = world.frontend()
    request = world.submit(peer, M)
    world.is_automatic = False

    world.feed_pongs(peer, 6)
    world.die(W)

    assert Kill(W, "kill") in world.kills
    failure = world.failure(peer, request)
    assert failure.code == "worker_hung"
    assert "no sign of life" in failure.message


def test_a_worker_whose_connection_is_lost_has_crashed() -> None:
    """Its end may be seen before its process is reaped."""
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)

    world.feed(PeerUnreachable(world.workers[W], "no peer has this identity"))
    world.die(W)

    failure = world.failure(peer, request)
    assert failure.code == "worker_crashed"
    assert "its connection was lost: no peer has this identity" in failure.message


def test_a_busy_worker_that_pongs_without_progress_is_killed() -> None:
    world = World(M, settings=KernelSettings(frontends=(), hung_after_s=20))
    peer = world.frontend()
    world.submit(peer, M)
    world.is_automatic = False

    for _ in range(22):
        world.feed_pongs(peer, 1)
        world.feed(MessageReceived(world.workers[W], parcel("pong", Pong(progress=7, num_active=1))))

    assert Kill(W, "kill") in world.kills


def test_a_busy_worker_with_progress_lives() -> None:
    world = World(M, settings=KernelSettings(frontends=(), hung_after_s=20))
    peer = world.frontend()
    world.submit(peer, M)
    world.is_automatic = False

    for progress in range(60):
        world.feed_pongs(peer, 1)
        world.feed(MessageReceived(world.workers[W], parcel("pong", Pong(progress=progress, num_active=1))))

    assert not world.kills


def test_a_worker_that_is_idle_although_it_has_a_request_is_killed() -> None:
    world = World(M, settings=KernelSettings(frontends=(), hung_after_s=20))
    peer = world.frontend()
    request = world.submit(peer, M)
    world.is_automatic = False

    for _ in range(22):
        world.feed_pongs(peer, 1)
        world.feed(MessageReceived(world.workers[W], parcel("pong", Pong(progress=7, num_active=0))))
    world.die(W)

    assert Kill(W, "kill") in world.kills
    assert "has not ended a request" in world.failure(peer, request).message


def test_a_worker_that_was_just_given_a_request_may_look_idle() -> None:
    world = World(M, preload=(M,), settings=KernelSettings(frontends=(), hung_after_s=20))
    world.advance(100)
    world.submit(world.frontend(), M)

    world.feed(MessageReceived(world.workers[W], parcel("pong", Pong(progress=7, num_active=0))))

    assert not world.kills


def test_a_long_idle_worker_is_not_hung_when_work_comes() -> None:
    world = World(M, preload=(M,), settings=KernelSettings(frontends=(), hung_after_s=20))
    world.advance(100)
    peer = world.frontend()

    world.submit(peer, M)
    world.feed(MessageReceived(world.workers[W], parcel("pong", Pong(progress=0, num_active=1))))
    world.feed(TimePassed())

    assert not world.kills


def test_a_load_failure_reaches_those_who_wait_and_ends_the_worker() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()
    request = world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))
    worker = world.hello(W)

    world.feed(
        MessageReceived(worker, parcel("failed", Failed(code="model_unavailable", message="bad weights")))
    )

    assert world.failure(peer, request).message == "bad weights"
    assert "unload" in world.types(worker)
    world.die(W, 0)
    assert world.num_spawned[W] == 1


def told_of_a_failed_load(said: str) -> str:
    """What who waits for a model in somebody's folder is told when its worker says so."""
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()
    request = world.submit(peer, M)
    world.feed(Prepared(M, "/home/ann/m"))
    worker = world.hello(W)
    world.feed(MessageReceived(worker, parcel("failed", Failed(code="model_unavailable", message=said))))
    return world.failure(peer, request).message


def test_who_waits_does_not_learn_where_a_model_that_failed_lies() -> None:
    """The path names the person whose machine it is."""
    said = "/home/ann/m: cannot be loaded: /home/ann/m/config.json: no such file"

    assert told_of_a_failed_load(said) == f"{M}: cannot be loaded: {M}/config.json: no such file"


def test_who_asked_does_not_learn_where_the_libraries_lie() -> None:
    """What a process wrote last may name folders; administrators see them, clients do not."""
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)
    said = "/home/ann/mlxd/envs/x/lib/y.py:12: Warning: <Array object at 0x7f12ab34cd56> is large"

    world.die(W, -6, said)

    told = f"{M}: its worker ended: signal 6: y.py:12: Warning: <Array object at 0x...> is large"
    assert world.failure(peer, request).message.startswith(told)


def test_nor_where_the_libraries_lie() -> None:
    said = "/home/ann/m: cannot be loaded: ImportError: /home/ann/envs/x/lib/core.so: undefined symbol"

    assert told_of_a_failed_load(said).endswith("ImportError: core.so: undefined symbol")


def test_nor_where_an_environment_was_to_be_built() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()
    request = world.submit(peer, M)
    said = "environment text-1b: no space left: '/home/ann/mlxd/envs/text-1b/pyvenv.cfg'; https://example.org/simple/"

    world.feed(PrepareFailed(M, EnvironmentFailed(said)))

    failure = world.failure(peer, request)
    assert failure.code == "environment_failed"
    assert failure.message == "environment text-1b: no space left: 'pyvenv.cfg'; https://example.org/simple/"


def test_nor_does_who_is_refused_while_it_ends_again_and_again() -> None:
    world = World(M, preload=(M,))
    for _ in range(6):
        world.die(W, -6, "/home/ann/envs/x/lib/y.py: broken")
        world.advance(9)
    peer = world.frontend()

    request = world.submit(peer, M)

    assert "(signal 6: y.py: broken)" in world.failure(peer, request).message


def test_the_least_recently_used_idle_model_makes_room() -> None:
    world = World("echo/a", "echo/b", "echo/c", settings=KernelSettings(frontends=(), max_models=2))
    peer = world.frontend()
    for model in ("echo/a", "echo/b"):
        request = world.submit(peer, model)
        world.advance(1)
        world.finish(f"echo:{model}", request)

    request = world.submit(peer, "echo/c")

    assert set(world.workers) == {"echo:echo/b", "echo:echo/c"}
    assert list(world.running["echo:echo/c"]) == [request]


def test_a_busy_model_is_not_evicted() -> None:
    world = World("echo/a", "echo/b", settings=KernelSettings(frontends=(), max_models=1))
    peer = world.frontend()
    busy = world.submit(peer, "echo/a")

    waiting = world.submit(peer, "echo/b")

    assert list(world.running["echo:echo/a"]) == [busy]
    world.finish("echo:echo/a", busy)
    assert list(world.running["echo:echo/b"]) == [waiting]


def test_unload_refuses_a_busy_model_unless_forced() -> None:
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)

    refused = world.admin(peer, "unload", model=M)
    forced = world.admin(peer, "unload", model=M, force=True)

    assert "1 requests" in world.failure(peer, refused).message
    assert world.reply(peer, forced, DoneReply)
    assert world.ends[peer, request] == ["failed"]
    assert W not in world.workers


def test_a_request_for_a_model_that_is_being_unloaded_waits_and_is_served() -> None:
    world = World(M, preload=(M,))
    world.is_automatic = False
    peer = world.frontend()
    unload = world.admin(peer, "unload", model=M)

    request = world.submit(peer, M)
    load = world.admin(peer, "load", model=M)
    world.is_automatic = True
    world.die(W, 0)

    assert list(world.running[W]) == [request]
    assert world.reply(peer, unload, DoneReply) == DoneReply(detail="unloaded")
    assert world.reply(peer, load, DoneReply) == DoneReply(detail="loaded")


def test_load_is_answered_when_the_model_is_ready() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()

    question = world.admin(peer, "load", model=M)
    assert "reply" not in world.types(peer)
    world.feed(Prepared(M, "/models/m"))
    world.hello(W)
    world.ready(W)

    assert world.reply(peer, question, DoneReply)
    assert "progress" in world.types(peer)


def test_models_list_tells_the_state() -> None:
    world = World(M, "echo/other", preload=(M,))
    peer = world.frontend()

    question = world.admin(peer, "models.list")

    reply = world.reply(peer, question, ModelsReply)
    assert isinstance(reply, ModelsReply)
    assert {model.name: model.state for model in reply.models} == {M: "ready", "echo/other": "available"}


@pytest.mark.parametrize(
    ("role", "token"), [("frontend", "wrong"), ("worker", "client-token"), ("worker", "wrong")]
)
def test_a_hello_with_a_wrong_token_is_refused(role: str, token: str) -> None:
    world = World(M)
    hello = Hello(role=role, kind="x", name="x", token=token, pid=1, mlxd_version="1")  # type: ignore[arg-type]

    world.feed(MessageReceived("stranger", parcel("hello", hello)))
    world.submit("stranger", M)

    assert world.types("stranger") == ["failed", "failed"]
    assert not world.prepares


def test_a_workers_token_works_once() -> None:
    world = World(M)
    world.is_automatic = False
    peer = world.frontend()
    world.submit(peer, M)
    world.feed(Prepared(M, "/models/m"))
    token = world.spawned[W]
    world.hello(W)

    hello = Hello(role="worker", kind="echo", name=W, token=token, pid=1, mlxd_version="1")
    world.feed(MessageReceived("thief", parcel("hello", hello)))

    assert world.types("thief") == ["failed"]


def test_another_version_is_refused_with_both_named() -> None:
    world = World(M)
    hello = Hello(role="frontend", kind="x", name="x", token="client-token", pid=1, mlxd_version="2")

    world.feed(MessageReceived("newer", parcel("hello", hello)))

    assert world.types("newer") == ["failed"]


def test_a_frontend_may_not_speak_as_a_worker() -> None:
    world = World(M)
    peer = world.frontend()

    world.feed(MessageReceived(peer, parcel("events", Pong(), ids=("request-1",))))

    assert world.types(peer)[-1] == "failed"


def test_stop_lets_running_requests_finish() -> None:
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)

    world.stop()
    refused = world.submit(peer, M)
    assert world.failure(peer, refused).code == "shutting_down"
    assert world.exit_code is None
    world.finish(W, request)
    world.advance(0.1)

    assert world.ends[peer, request] == ["events"]
    assert world.exit_code == 0


def test_a_frontend_that_has_drained_does_not_come_back() -> None:
    """A request of another one is still being answered."""
    world = World(M, settings=KernelSettings(frontends=("http",)), automatic=False)
    world.hello_frontend("frontend:http")
    peer = world.frontend()
    world.submit(peer, M)

    world.stop()
    world.feed(ProcessExited("frontend:http", 0))
    world.advance(1)

    assert world.exit_code is None
    assert 1 == world.num_spawned["frontend:http"]


def test_stop_ends_what_takes_longer_than_allowed() -> None:
    world = World(M, settings=KernelSettings(frontends=(), drain_timeout_s=5, hung_after_s=1e6))
    peer = world.frontend()
    request = world.submit(peer, M)

    world.stop()
    world.advance(6)

    assert world.failure(peer, request).code == "shutting_down"
    assert world.exit_code == 0


def test_a_second_stop_ends_at_once() -> None:
    world = World(M)
    peer = world.frontend()
    request = world.submit(peer, M)

    world.stop()
    world.feed(StopRequested())

    assert world.ends[peer, request] == ["failed"]
    assert Kill(W, "kill") in world.kills
    assert world.exit_code == 0


def test_the_kill_ladder_climbs_when_a_worker_does_not_leave() -> None:
    world = World(M, preload=(M,), settings=KernelSettings(frontends=(), stop_timeout_s=2, kill_timeout_s=3))
    world.is_automatic = False

    world.stop()
    assert "unload" in world.types(world.workers[W])
    world.advance(2.1)
    assert world.kills == [Kill(W, "term")]
    world.advance(3.1)
    assert world.kills == [Kill(W, "term"), Kill(W, "kill")]


def test_a_frontend_that_refuses_to_start_is_not_started_again() -> None:
    world = World(settings=KernelSettings(frontends=("http",)), automatic=False)

    world.feed(ProcessExited("frontend:http", 2, ("mlxd: port 1 is in use",)))
    world.advance(400)

    assert world.num_spawned["frontend:http"] == 1


def test_a_frontend_that_crashes_is_started_again() -> None:
    world = World(settings=KernelSettings(frontends=("http",)), automatic=False)

    world.feed(ProcessExited("frontend:http", -11, ()))
    world.advance(0.1)

    assert world.num_spawned["frontend:http"] == 2


def test_a_process_that_even_sigkill_does_not_end_does_not_keep_the_kernel() -> None:
    world = World(M, preload=(M,), settings=KernelSettings(frontends=(), stop_timeout_s=2, kill_timeout_s=3))
    world.is_automatic = False

    world.stop()
    world.advance(9)

    assert world.exit_code == 1


def test_open_questions_of_a_frontend_are_bounded() -> None:
    world = World(M, settings=KernelSettings(frontends=(), max_requests_per_peer=2))
    world.is_automatic = False
    peer, other = world.frontend(), world.frontend()
    for _ in range(2):
        world.admin(peer, "load", model=M)

    refused = world.admin(peer, "load", model=M)

    assert "max_requests_per_peer" in world.failure(peer, refused).message
    world.admin(other, "load", model=M)
    assert "failed" not in world.types(other)
