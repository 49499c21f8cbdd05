"""The broker's memory guard: one budget for all models, and what happens when the system has too little."""

from __future__ import annotations

import pytest
from kernel_world import ENGINE_BYTES as ENGINE
from kernel_world import World

from kernel.events import Measured, Prepared, ProcessStarted
from kernel.model_sizes import ModelSizes
from transports.reports import DoneReply, ModelReport, StatusReply
from transports.settings import MIB, KernelSettings, ModelOptions

A, B, C, D = "echo/a", "echo/b", "echo/c", "echo/d"
SHORT = Measured(available_bytes=MIB)
ENOUGH = Measured(available_bytes=8000 * MIB)


def of(weights_mib: int) -> ModelSizes:
    return ModelSizes(weights_bytes=weights_mib * MIB, dense_weights_bytes=weights_mib * MIB)


def world(budget_mib: int, automatic: bool = True, **weights_mib: int) -> World:
    """A kernel whose engines leave *budget_mib* to the weights of four models."""
    sizes = {f"echo/{name}": of(mib) for name, mib in weights_mib.items()}
    return World(
        *sizes,
        sizes=sizes,
        settings=KernelSettings(frontends=(), heartbeat_s=1, max_models=10),
        budget_bytes=budget_mib * MIB + len(sizes) * ENGINE,
        automatic=automatic,
    )


def serve(world: World, model: str) -> None:
    request = world.submit(world.frontend(), model)
    world.finish(f"echo:{model}", request)
    world.advance(1)


def loaded(world: World) -> set[str]:
    return {name.removeprefix("echo:") for name in world.workers if name.startswith("echo:")}


# --- the budget ---------------------------------------------------------------------------------


def test_models_are_in_memory_together_as_long_as_they_fit() -> None:
    kernel = world(300, a=100, b=100, c=100)

    for model in (A, B, C):
        serve(kernel, model)

    assert loaded(kernel) == {A, B, C}


def test_as_many_idle_models_leave_as_the_new_one_needs_the_oldest_first() -> None:
    kernel = world(310, a=100, b=100, c=100, d=200)
    for model in (A, B, C):
        serve(kernel, model)

    serve(kernel, D)

    assert loaded(kernel) == {C, D}


def test_two_models_that_do_not_fit_together_take_turns() -> None:
    kernel = world(150, a=100, b=100)
    peer = kernel.frontend()

    for model in (A, B, A):
        request = kernel.submit(peer, model)
        kernel.finish(f"echo:{model}", request)
        assert kernel.ends[peer, request] == ["events"]
        assert loaded(kernel) == {model}


def test_a_model_for_which_no_other_needs_to_leave_does_not_wait_for_one_that_is_busy() -> None:
    kernel = world(200, a=150, b=150, c=40)
    peer = kernel.frontend()
    busy = kernel.submit(peer, A)
    waiting = kernel.submit(peer, B)

    other = kernel.submit(peer, C)

    assert set(kernel.running[f"echo:{C}"]) == {other}
    kernel.finish(f"echo:{C}", other)
    # Evicting the idle one would not help the one that waits.
    assert loaded(kernel) == {A, C}
    kernel.finish(f"echo:{A}", busy)
    assert set(kernel.running[f"echo:{B}"]) == {waiting}


def test_room_that_is_being_made_for_one_is_not_taken_by_another() -> None:
    kernel = world(200, a=150, b=200, c=50)
    serve(kernel, A)
    kernel.is_automatic = False
    peer = kernel.frontend()
    first = kernel.submit(peer, B)

    kernel.submit(peer, C)
    kernel.is_automatic = True
    kernel.die(f"echo:{A}", 0)

    assert set(kernel.running[f"echo:{B}"]) == {first}
    assert loaded(kernel) == {B}


def test_many_first_requests_load_a_model_once() -> None:
    kernel = world(200, automatic=False, a=100)
    peers = [kernel.frontend() for _ in range(5)]

    requests = [kernel.submit(peer, A) for peer in peers for _ in range(3)]
    kernel.feed(Prepared(A, "/models/a"))
    kernel.hello(f"echo:{A}")

    assert (len(requests), kernel.prepares, kernel.num_spawned[f"echo:{A}"]) == (15, [A], 1)


# --- what does not fit --------------------------------------------------------------------------


def test_what_could_never_fit_is_refused_at_once_with_the_numbers() -> None:
    kernel = world(100, a=100, b=1000)
    peer = kernel.frontend()
    serve(kernel, A)

    request = kernel.submit(peer, B)

    failure = kernel.failure(peer, request)
    assert failure.code == "insufficient_memory"
    assert "weights 1.0 GB" in failure.message
    assert loaded(kernel) == {A}
    assert kernel.prepares == [A]


def test_an_administrator_is_told_too() -> None:
    kernel = world(100, a=1000)
    peer = kernel.frontend()

    assert kernel.failure(peer, kernel.admin(peer, "load", model=A)).code == "insufficient_memory"


def test_what_fits_beside_no_pinned_model_is_refused() -> None:
    kernel = world(150, a=100, b=100)
    peer = kernel.frontend()
    kernel.admin(peer, "pin", model=A)
    serve(kernel, A)

    request = kernel.submit(peer, B)

    assert f"pinned ones hold 130 MB ({A} 130 MB)" in kernel.failure(peer, request).message
    assert loaded(kernel) == {A}


def test_what_waits_is_refused_when_a_pin_leaves_it_no_place() -> None:
    kernel = world(150, a=100, b=100)
    peer = kernel.frontend()
    kernel.submit(peer, A)
    waiting = kernel.submit(peer, B)

    kernel.admin(peer, "pin", model=A)

    assert kernel.failure(peer, waiting).code == "insufficient_memory"


def test_pins_may_take_all_places() -> None:
    kernel = World(A, B, settings=KernelSettings(frontends=(), max_models=1), preload=(A,))
    peer = kernel.frontend()

    request = kernel.submit(peer, B)

    assert f"kernel.max_models is 1, and as many are pinned: {A}" in kernel.failure(peer, request).message


def test_a_refusal_is_reconsidered() -> None:
    kernel = world(150, a=100, b=100)
    peer = kernel.frontend()
    kernel.admin(peer, "pin", model=A)
    serve(kernel, A)
    kernel.submit(peer, B)
    kernel.admin(peer, "unpin", model=A)

    kernel.advance(KernelSettings().failed_retry_s)
    request = kernel.submit(peer, B)

    assert set(kernel.running[f"echo:{B}"]) == {request}


# --- what is measured ---------------------------------------------------------------------------


def test_what_a_model_really_takes_counts_if_it_is_more() -> None:
    kernel = world(300, automatic=False, a=100, b=100)
    peer = kernel.frontend()
    kernel.submit(peer, A)
    kernel.feed(Prepared(A, "/models/a"))
    kernel.feed(ProcessStarted(f"echo:{A}", 11))
    kernel.measured = Measured({11: 260 * MIB})
    kernel.advance(6)

    kernel.submit(peer, B)

    assert B not in kernel.prepares


def test_memory_is_measured_in_its_interval() -> None:
    kernel = World(A, settings=KernelSettings(frontends=(), memory_interval_s=5))
    kernel.advance(1)
    num_before = sum(type(action).__name__ == "Measure" for action in kernel.actions)

    kernel.advance(20)

    assert sum(type(action).__name__ == "Measure" for action in kernel.actions) == num_before + 4


def test_status_tells_estimates_and_what_was_measured() -> None:
    kernel = world(300, a=100)
    peer = kernel.frontend()
    serve(kernel, A)
    kernel.measured = Measured({0: 7, 99: 200 * MIB}, available_bytes=9 * MIB * 1000)

    status = kernel.reply(peer, kernel.admin(peer, "status"), StatusReply)

    assert isinstance(status, StatusReply)
    worker = status.workers[0]
    assert worker.estimate is not None
    assert worker.estimate.total_bytes == 100 * MIB + ENGINE
    assert (worker.memory_bytes, status.memory_bytes) == (200 * MIB, 7)
    assert status.memory is not None
    assert status.memory.charged_bytes == 200 * MIB
    assert status.memory.budget_bytes == 300 * MIB + ENGINE


def test_a_model_on_a_gpu_counts_with_what_it_has_of_that() -> None:
    kernel = world(300, a=100)
    peer = kernel.frontend()
    serve(kernel, A)
    kernel.measured = Measured(
        {0: 7, 99: 250 * MIB}, gpu_bytes={99: 200 * MIB}, gpu_free_bytes=8000 * MIB, available_bytes=None
    )

    status = kernel.reply(peer, kernel.admin(peer, "status"), StatusReply)
    shown = kernel.reply(peer, kernel.admin(peer, "models.show", model=A), ModelReport)

    assert isinstance(status, StatusReply)
    assert isinstance(shown, ModelReport)
    worker = status.workers[0]
    assert (worker.memory_bytes, worker.gpu_memory_bytes) == (250 * MIB, 200 * MIB)
    assert (shown.memory_bytes, shown.gpu_memory_bytes) == (250 * MIB, 200 * MIB)
    assert status.memory is not None
    assert (status.memory.charged_bytes, status.memory.gpu_free_bytes) == (200 * MIB, 8000 * MIB)


def test_a_model_that_is_not_there_takes_nothing() -> None:
    """Least of all what the kernel takes, whose number is 0."""
    kernel = world(300, a=100)
    peer = kernel.frontend()
    kernel.measured = Measured(memory_bytes={0: 250 * MIB}, gpu_bytes={0: 250 * MIB})
    kernel.advance(KernelSettings().memory_interval_s)

    shown = kernel.reply(peer, kernel.admin(peer, "models.show", model=A), ModelReport)

    assert isinstance(shown, ModelReport)
    assert (shown.memory_bytes, shown.gpu_memory_bytes) == (0, 0)


# --- pressure -----------------------------------------------------------------------------------


def test_a_gpu_that_others_fill_is_memory_that_is_short() -> None:
    kernel = world(300, a=100)
    peer = kernel.frontend()
    kernel.measured = Measured(available_bytes=8000 * MIB, gpu_free_bytes=MIB)
    kernel.advance(20)

    status = kernel.reply(peer, kernel.admin(peer, "status"), StatusReply)

    assert isinstance(status, StatusReply)
    assert status.memory is not None
    assert status.memory.pressure.startswith("the GPU has 1 MiB of memory left")


def short(kernel: World, found: Measured = SHORT) -> None:
    kernel.measured = found
    kernel.advance(KernelSettings().memory_interval_s)


@pytest.mark.parametrize(
    "found",
    [SHORT, Measured(stall_percent=50.0), Measured(pressure_level=4)],
)
def test_under_pressure_idle_models_leave_one_at_a_time_the_oldest_first(found: Measured) -> None:
    kernel = world(300, a=100, b=100)
    serve(kernel, A)
    serve(kernel, B)

    short(kernel, found)
    assert loaded(kernel) == {B}
    short(kernel, found)

    assert loaded(kernel) == set()


@pytest.mark.parametrize(
    "found",
    [
        ENOUGH,
        Measured(stall_percent=39.0),
        Measured(pressure_level=1),
        # A Mac with 8 GB and a browser says so all day: models would come and go with each request.
        Measured(pressure_level=2),
        Measured(),
    ],
)
def test_without_pressure_they_stay(found: Measured) -> None:
    kernel = world(300, a=100)
    serve(kernel, A)

    short(kernel, found)

    assert loaded(kernel) == {A}


def test_under_pressure_busy_and_pinned_models_stay() -> None:
    kernel = world(300, a=100, b=100)
    peer = kernel.frontend()
    kernel.admin(peer, "pin", model=A)
    serve(kernel, A)
    kernel.submit(peer, B)

    short(kernel)
    short(kernel)

    assert loaded(kernel) == {A, B}


def test_eviction_ends_with_the_pressure() -> None:
    kernel = world(300, a=100, b=100)
    serve(kernel, A)
    serve(kernel, B)
    short(kernel)

    short(kernel, ENOUGH)
    kernel.advance(60)

    assert loaded(kernel) == {B}


def test_under_pressure_no_model_is_loaded_and_requests_are_told_after_a_while() -> None:
    kernel = world(300, a=100)
    peer = kernel.frontend()
    short(kernel)
    request = kernel.submit(peer, A)
    load = kernel.admin(peer, "load", model=A)
    assert kernel.ends[peer, request] == []

    kernel.advance(KernelSettings().pressure_wait_s + 1)

    failure = kernel.failure(peer, request)
    assert (failure.code, failure.retry_after_s) == ("overloaded", 10)
    assert "1 MiB of memory left" in failure.message
    assert kernel.failure(peer, load).code == "overloaded"
    assert kernel.prepares == []
    # Nobody wants it any more when there is memory again.
    short(kernel, ENOUGH)
    assert loaded(kernel) == set()


def test_a_load_that_an_administrator_waits_for_is_not_given_up_when_its_worker_dies() -> None:
    settings = KernelSettings(frontends=(), restart_first_delay_s=20)
    kernel = World(A, settings=settings, automatic=False)
    peer = kernel.frontend()
    load = kernel.admin(peer, "load", model=A)
    kernel.feed(Prepared(A, "/models/a"))
    for _ in range(2):
        kernel.die(f"echo:{A}", 1)
        kernel.feed_pongs(peer, 1)
    kernel.measured = SHORT
    kernel.feed_pongs(peer, 6)

    kernel.measured = ENOUGH
    kernel.feed_pongs(peer, 24)
    kernel.hello(f"echo:{A}")
    kernel.ready(f"echo:{A}")

    assert kernel.reply(peer, load, DoneReply)


def test_a_load_that_waited_goes_on_when_the_pressure_is_over() -> None:
    kernel = world(300, a=100)
    peer = kernel.frontend()
    short(kernel)
    request = kernel.submit(peer, A)

    short(kernel, ENOUGH)

    assert set(kernel.running[f"echo:{A}"]) == {request}


def test_a_model_that_is_loaded_answers_under_pressure() -> None:
    kernel = world(300, a=100)
    peer = kernel.frontend()
    busy = kernel.submit(peer, A)
    short(kernel)

    request = kernel.submit(peer, A)

    assert set(kernel.running[f"echo:{A}"]) == {busy, request}


def test_a_model_that_must_be_there_from_the_start_is_loaded_after_the_pressure() -> None:
    kernel = World(
        A,
        options={A: ModelOptions(pinned=True)},
        automatic=False,
        settings=KernelSettings(frontends=()),
        preload=(A,),
    )
    kernel.prepares.clear()
    kernel.measured = SHORT
    kernel.broker._residency.unload(A, kernel.now)
    kernel.advance(6)
    kernel.scan()
    kernel.advance(60)
    assert kernel.prepares == []

    short(kernel, ENOUGH)

    assert kernel.prepares == [A]


def test_status_says_that_memory_is_short() -> None:
    kernel = world(300, a=100)
    peer = kernel.frontend()
    short(kernel)

    status = kernel.reply(peer, kernel.admin(peer, "status"), StatusReply)

    assert isinstance(status, StatusReply)
    assert status.memory is not None
    assert "kernel.min_available_bytes (512 MiB)" in status.memory.pressure
