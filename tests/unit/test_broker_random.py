"""Random schedules of faults against the broker: every request ends exactly once, and the kernel ends."""

from __future__ import annotations

from random import Random

import pytest
from kernel_world import World

from kernel.events import (
    Measured,
    MessageReceived,
    PeerUnreachable,
    Prepared,
    PrepareFailed,
    ProcessStarted,
)
from kernel.model_sizes import ModelSizes
from transports.errors import ModelUnavailable
from transports.frames import parcel
from transports.messages import Delta, Failed, Hello, Pong, Progress
from transports.settings import MIB, KernelSettings, ModelOptions

MODELS = ("echo/a", "echo/b", "echo/c")
NUM_STEPS = 150


class Chaos:
    """Does one random thing after the other to a world in which nothing happens by itself."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        settings = KernelSettings(
            frontends=self.random.choice([(), ("http",)]),
            max_queued=self.random.choice([3, 20]),
            max_models=self.random.choice([1, 2]),
            max_queued_s=self.random.choice([5, 60]),
            quarantine_s=self.random.choice([0, 10, 600]),
            max_requests_per_client_per_minute=self.random.choice([0, 0, 5]),
            max_requests_per_peer=self.random.choice([4, 1024]),
            start_timeout_s=5,
            hung_after_s=20,
            load_stalled_after_s=15,
            crash_loop_retry_s=30,
            failed_retry_s=2,
            drain_timeout_s=5,
            idle_unload_s=self.random.choice([0, 3, 100]),
            pressure_wait_s=self.random.choice([0, 2, 30]),
        )
        self.world = World(
            *MODELS,
            settings=settings,
            num_slots=self.random.choice([1, 3]),
            preload=self.random.choice([(), MODELS[:1]]),
            automatic=False,
            options={MODELS[1]: ModelOptions(pinned=self.random.random() < 0.2)},
            budget_bytes=self.random.choice([2**60, 400 * MIB, 150 * MIB]),
            sizes={name: self.sizes() for name in MODELS},
        )
        self.peers = [self.world.frontend() for _ in range(2)]
        self.lost: set[str] = set()
        # (peer, id), in order.
        self.submitted: list[tuple[str, str]] = []
        self.deeds = (
            *(self.submit,) * 6,
            *(self.prepare,) * 3,
            *(self.hello,) * 4,
            *(self.ready,) * 4,
            *(self.speak,) * 6,
            *(self.obey,) * 4,
            *(self.reap,) * 4,
            *(self.pong,) * 6,
            *(self.wait,) * 2,
            *(self.cancel, self.crash, self.administrate, self.leave, self.lie, self.fail_load),
            *(self.fail_request, self.lose_worker, self.say_hello_again, self.stall, self.look, self.steal),
            *(self.measure, self.forget),
        )

    def step(self) -> None:
        self.random.choice(self.deeds)()

    def sizes(self) -> ModelSizes:
        weights_bytes = self.random.choice((0, 50, 120, 300)) * MIB
        return ModelSizes(weights_bytes=weights_bytes, dense_weights_bytes=weights_bytes)

    # --- frontends ------------------------------------------------------------------------------

    def alive(self) -> list[str]:
        return [peer for peer in self.peers if peer not in self.lost]

    def submit(self) -> None:
        peer = self.random.choice(self.alive())
        model = self.random.choice((*MODELS, "echo/unknown"))
        timeout_s = self.random.choice((0.0, 0.0, 3.0))
        request = self.world.submit(
            peer,
            model,
            priority=self.random.choice((-1, 0, 1)),
            timeout_s=timeout_s,
            keep_alive_s=self.random.choice((None, None, 0.0, 2.0, -1.0)),
            client=self.random.choice(("", "a", "b")),
            fingerprint=self.random.choice(("", "one", "two", "three")),
        )
        self.submitted.append((peer, request))

    def cancel(self) -> None:
        """Also what has ended, and what is another's."""
        if self.submitted:
            _, request = self.random.choice(self.submitted)
            self.world.cancel(self.random.choice(self.alive()), request)

    def administrate(self) -> None:
        operation = self.random.choice(
            ("load", "unload", "pin", "unpin", "models.list", "models.show", "status")
        )
        model, force = self.random.choice(MODELS), self.random.random() < 0.5
        self.world.admin(self.random.choice(self.alive()), operation, model=model, force=force)

    def leave(self) -> None:
        peer = self.random.choice(self.alive())
        self.lost.add(peer)
        if self.random.random() < 0.5:
            self.world.bye(peer)
        self.world.unreachable.add(peer)
        self.peers.append(self.world.frontend())

    def say_hello_again(self) -> None:
        peer = self.random.choice(self.alive())
        self.lost.add(peer)
        token = self.random.choice(("client-token", "wrong"))
        hello = Hello(role="frontend", kind="test", name=peer, token=token, pid=7, mlxd_version="1")
        self.world.feed(MessageReceived(peer, parcel("hello", hello)))
        self.peers.append(self.world.frontend())

    # --- processes and workers ------------------------------------------------------------------

    def prepare(self) -> None:
        if self.world.prepares:
            model = self.world.prepares.pop(self.random.randrange(len(self.world.prepares)))
            if self.random.random() < 0.15:
                self.world.feed(PrepareFailed(model, ModelUnavailable("no network")))
            else:
                self.world.feed(Prepared(model, "/models"))

    def hello(self) -> None:
        if self.world.spawned:
            name = self.random.choice(list(self.world.spawned))
            self.world.feed(ProcessStarted(name, 99))
            if name.startswith("frontend:"):
                peer = self.world.hello_frontend(name)
                self.world.workers[name] = peer
            else:
                self.world.hello(name)

    def workers(self) -> list[str]:
        return [name for name in self.world.workers if name.startswith("echo:")]

    def ready(self) -> None:
        if self.workers():
            self.world.ready(self.random.choice(self.workers()))

    def speak(self) -> None:
        running = [(name, i) for name in self.workers() for i in self.world.running[name]]
        if running:
            name, request = self.random.choice(running)
            if self.random.random() < 0.3:
                self.world.say(name, Delta(id=request, text="x"))
            else:
                self.world.finish(name, request)

    def fail_request(self) -> None:
        running = [(name, i) for name in self.workers() for i in self.world.running[name]]
        if running:
            name, request = self.random.choice(running)
            peer = self.world.running[name].pop(request)
            body, ids = Failed(code="worker_error", message="x"), (request,)
            message = parcel("failed", body, ids=ids, finished=ids, peer=peer)
            self.world.feed(MessageReceived(self.world.workers[name], message))

    def forget(self) -> None:
        """A worker loses a request and goes on."""
        running = [(name, i) for name in self.workers() for i in self.world.running[name]]
        if running:
            self.world.forget(*self.random.choice(running))

    def fail_load(self) -> None:
        if self.workers():
            peer = self.world.workers[self.random.choice(self.workers())]
            body = Failed(code="model_unavailable", message="bad weights")
            self.world.feed(MessageReceived(peer, parcel("failed", body)))

    def lie(self) -> None:
        """A worker ends requests that it may not have."""
        if self.workers() and self.submitted:
            peer, request = self.random.choice(self.submitted)
            worker = self.world.workers[self.random.choice(self.workers())]
            body, ids = Failed(code="worker_error", message="x"), (request,)
            owned = any(request in running for running in self.world.running.values())
            if not owned:
                message = parcel("failed", body, ids=ids, finished=ids, peer=peer)
                self.world.feed(MessageReceived(worker, message))

    def lose_worker(self) -> None:
        if self.workers():
            peer = self.world.workers[self.random.choice(self.workers())]
            self.world.feed(PeerUnreachable(peer, "full"))

    def steal(self) -> None:
        """A stranger uses a token of a process in the other role, or one that is used up."""
        if self.world.spawned:
            token = self.random.choice(list(self.world.spawned.values()))
            role = "worker" if "frontend" in next(iter(self.world.spawned)) else "frontend"
            hello = Hello(role=role, kind="x", name="x", token=token, pid=1, mlxd_version="2")  # type: ignore[arg-type]
            self.world.feed(MessageReceived("thief", parcel("hello", hello)))

    def obey(self) -> None:
        """Workers that were told to unload leave, frontends that were told to drain too."""
        for name, peer in list(self.world.workers.items()):
            if {"unload", "drain"} & set(self.world.types(peer)):
                self.world.die(name, 0)

    def reap(self) -> None:
        """What was killed is gone; SIGTERM is obeyed now and then."""
        kills, self.world.kills = self.world.kills, []
        for kill in kills:
            is_there = kill.name in self.world.workers or kill.name in self.world.spawned
            if is_there and (kill.signal == "kill" or self.random.random() < 0.5):
                self.world.die(kill.name, -9 if kill.signal == "kill" else -15)

    def crash(self) -> None:
        if names := [*self.world.workers, *self.world.spawned]:
            self.world.die(self.random.choice(names), self.random.choice((-9, -6, 1, 2)))

    # --- time -----------------------------------------------------------------------------------

    def pong(self) -> None:
        for name, peer in list(self.world.workers.items()):
            num_active = len(self.world.running[name])
            unknown = tuple(self.world.forgotten[name][-3:])
            pong = Pong(progress=self.random.randrange(3), num_active=num_active, unknown=unknown)
            self.world.feed(MessageReceived(peer, parcel("pong", pong)))
            if self.random.random() < 0.5 and name.startswith("echo:"):
                progress = Progress(phase="load", fraction=0.5)
                self.world.feed(MessageReceived(peer, parcel("progress", progress)))
        for peer in self.alive():
            self.world.feed(MessageReceived(peer, parcel("pong", Pong())))

    def wait(self) -> None:
        self.world.advance(self.random.choice((0.1, 1.0, 3.0)))
        self.pong()

    def stall(self) -> None:
        self.world.now += self.random.choice((5, 500))

    def measure(self) -> None:
        """What the next measuring finds; memory is short now and then."""
        self.world.measured = Measured(
            # Of all processes: here they have one pid.
            {99: self.random.choice((0, 100, 500)) * MIB},
            available_bytes=self.random.choice((None, MIB, 8000 * MIB, 8000 * MIB)),
        )

    def look(self) -> None:
        """Looks at the disk take time, or none; a model is not always there."""
        self.world.scans = self.random.random() < 0.7
        if self.random.random() < 0.2:
            hidden = self.world.models.pop("echo/c", None)
            self.world.scan()
            if hidden:
                self.world.models["echo/c"] = hidden
        else:
            self.world.scan()

    # --- the end --------------------------------------------------------------------------------

    def end(self) -> None:
        """Stop in whatever state it is; from here on everybody does as told."""
        if self.random.random() < 0.5:
            self.world.scans = True
            self.world.scan()
        self.world.stop(now=self.random.random() < 0.3)
        for _ in range(60):
            self.world.feed_pongs_of_all(self.alive())
            self.obey()
            self.reap()
            self.world.advance(1)


@pytest.mark.parametrize("seed", range(300))
def test_every_request_ends_exactly_once_under_random_faults(seed: int) -> None:
    chaos = Chaos(seed)
    for _ in range(NUM_STEPS):
        chaos.step()
    chaos.end()

    world = chaos.world
    assert world.exit_code == 0, f"seed {seed}: {[(p.name, p.state) for p in world.broker._supervisor]}"
    wrong = {
        (peer, request): world.ends[peer, request]
        for peer, request in chaos.submitted
        if peer not in chaos.lost and len(world.ends[peer, request]) != 1
    }
    assert not wrong, f"seed {seed}"


@pytest.mark.parametrize("seed", range(100))
def test_every_request_ends_without_a_stop_too(seed: int) -> None:
    """Nothing waits for the end of the kernel to be told: limits of time end it."""
    chaos = Chaos(seed)
    for _ in range(NUM_STEPS // 2):
        chaos.step()
    chaos.world.scans = True
    chaos.world.scan()
    for _ in range(130):
        chaos.world.feed_pongs_of_all(chaos.alive())
        chaos.prepare()
        chaos.reap()
        chaos.world.advance(1)

    wrong = {
        (peer, request): chaos.world.ends[peer, request]
        for peer, request in chaos.submitted
        if peer not in chaos.lost and len(chaos.world.ends[peer, request]) != 1
    }
    assert not wrong, f"seed {seed}"
