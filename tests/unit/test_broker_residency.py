"""The broker's residency: which models stay in memory, which leave, and when."""

from __future__ import annotations

import pytest
from kernel_world import World

from kernel.events import Prepared
from transports.messages import Failed
from transports.reports import DoneReply
from transports.settings import KernelSettings, ModelOptions

A, B, C = "echo/a", "echo/b", "echo/c"


def kernel(**fields: object) -> KernelSettings:
    """Hours pass here: with few pings, and without a limit of hanging that is shorter than two of them."""
    return KernelSettings(
        frontends=(),
        heartbeat_s=30,
        dead_after_s=120,
        hung_after_s=120,
        **fields,  # type: ignore[arg-type]
    )


def serve(world: World, model: str, *, keep_alive_s: float | None = None, peer: str = "") -> None:
    """One request from its submit to its end."""
    request = world.submit(peer or world.frontend(), model, keep_alive_s=keep_alive_s)
    world.finish(f"echo:{model}", request)


def loaded(world: World) -> set[str]:
    return {name.removeprefix("echo:") for name in world.workers if name.startswith("echo:")}


def failure(world: World, peer: str, request: str) -> Failed:
    return world.failure(peer, request)


# --- idle time ----------------------------------------------------------------------------------


def test_a_model_without_requests_leaves_after_its_time() -> None:
    world = World(A, settings=kernel(idle_unload_s=60))
    serve(world, A)

    world.advance(59)
    assert loaded(world) == {A}
    world.advance(2)

    assert loaded(world) == set()


def test_the_idle_time_begins_with_the_end_of_the_last_request() -> None:
    world = World(A, settings=kernel(idle_unload_s=60))
    peer = world.frontend()
    request = world.submit(peer, A)
    world.advance(100)
    world.finish(f"echo:{A}", request)

    world.advance(59)

    assert loaded(world) == {A}


def test_a_model_that_nobody_asked_yet_has_its_time_from_when_it_was_loaded() -> None:
    world = World(A, settings=kernel(idle_unload_s=60), automatic=False)
    peer = world.frontend()
    world.admin(peer, "load", model=A)
    world.advance(100)
    world.feed(Prepared(A, "/models/a"))
    world.hello(f"echo:{A}")
    world.ready(f"echo:{A}")

    world.advance(1)

    assert "unload" not in world.types(world.workers[f"echo:{A}"])


def test_an_idle_time_of_zero_keeps_models() -> None:
    world = World(A, settings=kernel(idle_unload_s=0))
    serve(world, A)

    world.advance(7200)

    assert loaded(world) == {A}


@pytest.mark.parametrize(("of_model_s", "after_50_s", "after_150_s"), [(0, True, True), (30, False, False)])
def test_a_model_may_have_an_idle_time_of_its_own(
    of_model_s: float, after_50_s: bool, after_150_s: bool
) -> None:
    world = World(A, settings=kernel(idle_unload_s=100), options={A: ModelOptions(idle_unload_s=of_model_s)})
    serve(world, A)

    world.advance(50)
    assert after_50_s == (A in loaded(world))
    world.advance(100)

    assert after_150_s == (A in loaded(world))


def test_a_request_for_a_model_that_leaves_waits_and_is_served() -> None:
    world = World(A, settings=kernel(idle_unload_s=60))
    serve(world, A)
    world.is_automatic = False
    peer = world.frontend()
    world.advance(61)

    request = world.submit(peer, A)
    world.is_automatic = True
    world.die(f"echo:{A}", 0)
    world.finish(f"echo:{A}", request)

    assert world.ends[peer, request] == ["events"]


# --- keep_alive ---------------------------------------------------------------------------------


def test_keep_alive_of_zero_unloads_as_soon_as_the_model_is_idle() -> None:
    world = World(A, settings=kernel())
    peer = world.frontend()
    other = world.submit(peer, A)

    serve(world, A, keep_alive_s=0)
    assert loaded(world) == {A}
    world.finish(f"echo:{A}", other)

    assert loaded(world) == set()
    assert world.ends[peer, other] == ["events"]


def test_a_negative_keep_alive_keeps_the_model() -> None:
    world = World(A, settings=kernel(idle_unload_s=60))
    serve(world, A, keep_alive_s=-1)

    world.advance(3600)

    assert loaded(world) == {A}


def test_the_last_keep_alive_counts_and_none_changes_nothing() -> None:
    world = World(A, settings=kernel(idle_unload_s=60))
    serve(world, A, keep_alive_s=-1)
    serve(world, A, keep_alive_s=200)
    serve(world, A)

    world.advance(199)
    assert loaded(world) == {A}
    world.advance(2)

    assert loaded(world) == set()


def test_a_model_that_was_unloaded_begins_with_the_settings_again() -> None:
    world = World(A, settings=kernel(idle_unload_s=60))
    peer = world.frontend()
    serve(world, A, keep_alive_s=-1)
    world.admin(peer, "unload", model=A)
    serve(world, A)

    world.advance(61)

    assert loaded(world) == set()


def test_load_may_say_how_long_the_model_stays() -> None:
    world = World(A, settings=kernel(idle_unload_s=60))
    peer = world.frontend()
    world.admin(peer, "load", model=A, keep_alive_s=300.0)
    world.advance(299)
    assert loaded(world) == {A}

    # A second time it is there already.
    world.admin(peer, "load", model=A, keep_alive_s=-1.0)
    world.advance(3600)

    assert loaded(world) == {A}


def test_a_kept_model_makes_room_all_the_same() -> None:
    world = World(A, B, settings=kernel(max_models=1))
    serve(world, A, keep_alive_s=-1)

    serve(world, B)

    assert loaded(world) == {B}


# --- pins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["settings", "start", "administrator"])
def test_a_pinned_model_neither_leaves_nor_makes_room(how: str) -> None:
    world = World(
        A,
        B,
        C,
        settings=kernel(max_models=2, idle_unload_s=60),
        options={A: ModelOptions(pinned=True)} if how == "settings" else None,
        preload=(A,) if how == "start" else (),
    )
    peer = world.frontend()
    if how == "administrator":
        assert world.reply(peer, world.admin(peer, "pin", model=A), DoneReply)
    serve(world, A, keep_alive_s=0)
    serve(world, B)

    serve(world, C)
    world.advance(61)

    assert loaded(world) == {A}


def test_an_unpinned_model_leaves_again() -> None:
    world = World(A, settings=kernel(idle_unload_s=60), options={A: ModelOptions(pinned=True)})
    peer = world.frontend()
    serve(world, A)
    world.advance(61)

    world.admin(peer, "unpin", model=A)

    assert loaded(world) == set()


def test_an_administrator_may_unload_a_pinned_model() -> None:
    world = World(A, preload=(A,), settings=kernel())
    peer = world.frontend()

    world.admin(peer, "unload", model=A)

    assert loaded(world) == set()


def test_what_is_not_there_cannot_be_pinned_nor_what_is_not_pinned_unpinned() -> None:
    world = World(A, settings=kernel())
    peer = world.frontend()

    pin, unpin = world.admin(peer, "pin", model="echo/none"), world.admin(peer, "unpin", model=A)

    assert "model_not_found" == failure(world, peer, pin).code
    assert f"{A}: not pinned" == failure(world, peer, unpin).message


# --- order --------------------------------------------------------------------------------------


def test_models_get_a_place_in_the_order_in_which_they_were_wanted() -> None:
    """One that is asked for again and again does not lose its place in the line by that."""
    world = World(A, B, C, settings=kernel(max_models=1))
    peer = world.frontend()
    busy = world.submit(peer, A)
    first = world.submit(peer, B)
    world.advance(1)
    world.submit(peer, C)
    world.advance(1)
    world.submit(peer, B)

    world.finish(f"echo:{A}", busy)

    assert first in world.running[f"echo:{B}"]


def test_a_kernel_that_ends_waits_for_no_idle_time() -> None:
    """Nothing is done about it any more, and the kernel would look at it again and again."""
    world = World(A, settings=kernel(idle_unload_s=60))
    serve(world, A)
    world.is_automatic = False
    world.die(f"echo:{A}")

    world.stop()

    assert world.broker._residency.next_deadline() is None
