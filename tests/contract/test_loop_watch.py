"""The watch over a door's loop sees what the door does on it, and only that."""

from __future__ import annotations

import time

import pytest
from http_harness import FakeClient, Submission, open_door, say
from loop_watch import MAX_BLOCK_S

from transports.envelope import Message


def work(duration_s: float = 1.2 * MAX_BLOCK_S) -> None:
    until_s = time.thread_time() + duration_s
    while time.thread_time() < until_s:
        pass


def work_and_say(submission: Submission, body: Message) -> None:
    work()
    say("hello")(submission, body)


async def test_a_door_that_is_too_long_at_one_thing_fails_its_test() -> None:
    client = FakeClient()
    client.script = work_and_say

    with pytest.raises(AssertionError, match=r"stood still for \d+ ms, in RequestHandler"):
        async with open_door(client) as door:
            await door.complete()


async def test_what_a_test_does_is_not_held_against_the_door() -> None:
    async with open_door() as door:
        await door.complete()
        work()
        reply = await door.complete()

    assert reply.status == 200
