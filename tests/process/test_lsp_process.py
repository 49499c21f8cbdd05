"""Keystrokes that cancel each other, with a real kernel and worker: few tokens are made for the dead."""

from __future__ import annotations

import asyncio

from running import RunningKernel
from typist import Typist

NUM_KEYS = 200
MAX_TOKENS = 64
# Of the tokens that the cancelled requests were to have.
MAX_DEAD_SHARE = 0.05
TIMEOUT_S = 30.0


async def test_little_is_computed_for_cancelled_keystrokes(kernel: RunningKernel) -> None:
    await kernel.load("echo/slow")
    async with asyncio.timeout(TIMEOUT_S):
        typed = await Typist(kernel.client).type_keys("echo/slow", NUM_KEYS, MAX_TOKENS)

    assert len(typed.dead) == NUM_KEYS - 1
    assert sum(typed.dead) <= MAX_DEAD_SHARE * MAX_TOKENS * len(typed.dead), f"{sum(typed.dead)} tokens"
    codes = {one["id"]: one["error"]["code"] for one in typed.answers if "error" in one}
    assert codes == dict.fromkeys(range(1, NUM_KEYS), -32800)
    assert len(typed.answers) == NUM_KEYS + 1
