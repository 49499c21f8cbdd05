"""Blocking calls of the kernel need no new thread."""

from __future__ import annotations

import threading

import pytest

from kernel.threads import started_threads


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_calls_find_a_thread_when_there_are_no_more_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with started_threads(3) as executor:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        for _ in range(20):
            together = threading.Barrier(3)
            calls = [executor.submit(together.wait, 5) for _ in range(3)]
            assert sorted(call.result(5) for call in calls) == [0, 1, 2]


def test_a_system_that_gives_too_few_does_not_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading.Thread.start, []

    def start_one(thread: threading.Thread) -> None:
        if begun:
            refuse(thread)
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with started_threads(3):
        pass

    assert not begun[0].is_alive()
