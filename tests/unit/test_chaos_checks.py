"""What the chaos runner would not let pass."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import chaos_clients
from chaos_clients import Ask, ask_once
from chaos_outcome import End, Outcome, Violation, check_code, check_markers, check_text
from chaos_rest import Memory, Rest, compare
from chaos_world import CALM, World

REST = Rest(kernel_descriptors=20, frontend_descriptors=15, files=("kernel.sock",))


@pytest.mark.parametrize(
    ("text", "is_whole", "complaint"),
    [
        ("<1.2> <1.2", True, "silent truncation"),
        ("", True, "silent truncation"),
        ("<1.2> <3.4>", False, "foreign text"),
        ("<1.2> and", False, "wrong text"),
        ("<1.2> <1.2> <1.2>", False, "wrong text"),
    ],
)
def test_a_wrong_answer_is_a_violation(text: str, is_whole: bool, complaint: str) -> None:
    with pytest.raises(Violation, match=complaint):
        check_text(text, "<1.2> <1.2>", is_whole=is_whole)


@pytest.mark.parametrize(("text", "is_whole"), [("<1.2> <1.2>", True), ("<1.2> <1", False), ("", False)])
def test_a_right_one_or_its_beginning_is_none(text: str, is_whole: bool) -> None:
    check_text(text, "<1.2> <1.2>", is_whole=is_whole)


def test_a_real_model_may_say_anything_but_a_foreign_marker() -> None:
    check_markers("I see <1.2> here", "<1.2>")

    with pytest.raises(Violation):
        check_markers("I see <1.3> here", "<1.2>")


def test_a_real_model_is_asked_for_what_it_can_do_in_time(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    real, echo = (Ask(world, model, "<1.2>", Random(1)) for model in ("demo/real", CALM))

    assert real.text(1) == echo.text(1)
    assert len(real.text(400)) * 50 < len(echo.text(400))
    assert real.max_tokens * 10 < echo.max_tokens


async def test_a_request_without_an_end_is_a_violation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(ask: Ask) -> tuple[End, str]:
        ask.hear()
        await asyncio.Event().wait()
        return "done", ""

    monkeypatch.setattr(chaos_clients, "STUCK_S", 0.0)
    monkeypatch.setattr(chaos_clients, "CLIENTS", {"reader": (never, 1)})
    world = World(tmp_path, 1)
    world.kernel = msgspec.structs.replace(world.kernel, hung_after_s=0.01)

    with pytest.raises(Violation, match=r"stuck: reader of echo/\w+ had no end in 0 s; it heard 1 times"):
        await ask_once(world, 1, 2, Random(1))


@pytest.mark.parametrize("code", ["internal_error", "local_protocol_error", "invalid_request", "new_one"])
def test_an_error_that_no_fault_explains_is_a_violation(code: str) -> None:
    with pytest.raises(Violation):
        check_code(code)


@pytest.mark.parametrize(
    ("scope", "outcome", "is_explained"),
    [
        ("kernel", ("http stream", CALM, "broken"), True),
        ("frontend", ("http stream", CALM, "broken"), True),
        ("frontend", ("kernel client", CALM, "failed"), False),
        ("echo/slow", ("http stream", CALM, "failed"), False),
        ("echo/slow", ("http stream", "echo/slow", "failed"), True),
        # A dead worker never breaks a connection.
        ("echo/slow", ("http stream", "echo/slow", "broken"), False),
    ],
)
def test_a_fault_explains_only_what_it_concerns(
    tmp_path: Path, scope: str, outcome: tuple[str, str, str], is_explained: bool
) -> None:
    world = World(tmp_path, 1)
    client, model, end = outcome
    world.disturb(scope)
    began_s = world.disturbances[0].began_s
    seen = Outcome(client, model, began_s, began_s + 1, end, "worker_crashed")  # type: ignore[arg-type]

    if is_explained:
        world.check(seen)
    else:
        with pytest.raises(Violation, match="undisturbed"):
            world.check(seen)


def test_a_fault_long_over_explains_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    with world.disturbed("kernel"):
        pass
    later_s = (world.disturbances[0].ended_s or 0) + 60

    with pytest.raises(Violation, match="undisturbed"):
        world.check(Outcome("http stream", CALM, later_s, later_s + 1, "failed", "worker_crashed"))


@pytest.mark.parametrize(
    "left",
    [
        Rest(kernel_descriptors=26, frontend_descriptors=15, files=("kernel.sock",)),
        Rest(kernel_descriptors=20, frontend_descriptors=22, files=("kernel.sock",)),
        Rest(kernel_descriptors=20, frontend_descriptors=15, files=("a/pixels", "kernel.sock")),
    ],
)
def test_what_is_left_over_is_a_violation(left: Rest) -> None:
    with pytest.raises(Violation):
        compare(REST, left)


def test_memory_that_grows_is_a_violation() -> None:
    memory = Memory()
    # A megabyte a minute for half an hour.
    memory.samples["kernel", 1] = [(60.0 * i, (40 + i) << 20) for i in range(30)]
    memory.samples["frontend", 2] = [(60.0 * i, 50 << 20) for i in range(30)]

    with pytest.raises(Violation, match=r"memory of the kernel grows by 60\.00 MiB an hour"):
        memory.check()


def test_memory_of_a_short_life_says_nothing() -> None:
    memory = Memory()
    memory.samples["kernel", 1] = [(10.0 * i, (40 + i) << 20) for i in range(30)]

    memory.check()


def test_one_step_of_the_allocator_is_no_slope() -> None:
    """Half a megabyte in the middle of a quarter of an hour would be two an hour."""
    memory = Memory()
    memory.samples["kernel", 1] = [(30.0 * i, (80 + (i >= 30)) << 19) for i in range(45)]

    memory.check()


def test_a_slow_leak_shows_in_a_day() -> None:
    memory = Memory()
    memory.samples["kernel", 1] = [(600.0 * i, (40 << 20) + i * (2 << 20) // 6) for i in range(144)]

    with pytest.raises(Violation, match=r"grows by 2\.00 MiB an hour"):
        memory.check()
