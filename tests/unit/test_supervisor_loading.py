"""A load that stands still is ended, although its heart beats; a slow one is not."""

from __future__ import annotations

from kernel_world import World

from kernel.events import MessageReceived, Prepared
from transports.frames import parcel
from transports.messages import Pong, Progress
from transports.settings import KernelSettings

SETTINGS = KernelSettings(frontends=(), load_stalled_after_s=30.0)


def loading() -> tuple[World, str, str]:
    """A world in which a worker was told to load; its peer and the frontend that waits."""
    world = World("m", settings=SETTINGS, automatic=False)
    frontend = world.frontend()
    world.submit(frontend, "m")
    world.feed(Prepared("m", "/models/m"))
    return world, world.hello("echo:m"), frontend


def pong(world: World, peer: str, progress: int) -> None:
    world.feed(MessageReceived(peer, parcel("pong", Pong(progress=progress))))


def test_a_load_without_progress_is_ended() -> None:
    world, worker, frontend = loading()

    for _ in range(31):
        world.advance(1)
        pong(world, worker, 5)
        pong(world, frontend, 0)

    assert [kill.signal for kill in world.kills] == ["kill"]


def test_a_slow_load_with_a_growing_counter_goes_on() -> None:
    world, worker, frontend = loading()

    for second in range(100):
        world.advance(1)
        pong(world, worker, second // 20)
        pong(world, frontend, 0)

    assert not world.kills


def test_progress_messages_keep_a_load_alive() -> None:
    world, worker, frontend = loading()

    for second in range(100):
        world.advance(1)
        pong(world, worker, 0)
        pong(world, frontend, 0)
        if second % 20 == 0:
            world.feed(
                MessageReceived(worker, parcel("progress", Progress(phase="load", fraction=second / 100)))
            )

    assert not world.kills
