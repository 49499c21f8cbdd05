"""An event loop that stands still is told of within a second, once, with the place."""

from __future__ import annotations

import asyncio
import time

import pytest

from plugins import stalls


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stall_is_told_of_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[float, str]] = []
    monkeypatch.setattr(stalls.log, "warning", lambda _, at, **__: told.append((time.monotonic(), at)))
    with stalls.watched(asyncio.get_running_loop()):
        await asyncio.sleep(0.3)
        began_s = time.monotonic()
        stand_still(1.5)
        await asyncio.sleep(0.3)

    ((told_s, place),) = told
    assert told_s - began_s <= 1.2
    assert "stand_still (test_stalls.py:" in place


async def test_a_loop_that_turns_is_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(stalls.log, "warning", lambda event, **_: told.append(event))
    monkeypatch.setattr(stalls, "STALL_S", 0.3)
    with stalls.watched(asyncio.get_running_loop()):
        for _ in range(10):
            await asyncio.sleep(0.05)

    assert told == []
