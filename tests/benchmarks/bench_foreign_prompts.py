"""What the holder of one key learns from times about what another has asked: nothing, says a rank test.

A prompt that another key has asked is as slow as one that nobody has; one's own is fast. What keys become for
a worker, the salts of its prompt cache, is what differs here; that they become it, the contract tests show.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Sequence
from random import Random

import msgspec
from support import REAL, Figure, chat, percentile, real_home, running_kernel

from plugins.client import KernelClient
from transports.messages import Delta

NUM_WORDS = 150
WORDS = ("river", "stone", "lamp", "bread", "cloud", "paper", "green", "slow", "under", "seven")
ALICE, MALLORY = 1, 2


async def measure(rounds: int) -> list[Figure]:
    """Of *rounds* prompts each."""
    times: dict[str, list[float]] = {"foreign": [], "fresh": [], "own": []}
    random = Random(1)
    async with running_kernel(real_home(), model=REAL) as (_, client, _):
        for _ in range(rounds):
            asked, fresh = _prompt(random), _prompt(random)
            await _first_text_ms(client, asked, ALICE)
            kinds = [("foreign", asked), ("fresh", fresh)]
            random.shuffle(kinds)
            for kind, prompt in kinds:
                times[kind].append(await _first_text_ms(client, prompt, MALLORY))
            times["own"].append(await _first_text_ms(client, asked, ALICE))
    medians = {kind: f"{percentile(found, 50):.1f} ms" for kind, found in times.items()}
    return [
        Figure(
            f"p of a rank test, {kind} against fresh, {rounds} prompts",
            rank_test(times[kind], times["fresh"]),
            "",
            (sign, 0.05),
            f"median {medians[kind]} against {medians['fresh']}",
        )
        for kind, sign in (("foreign", ">="), ("own", "<="))
    ]


def rank_test(ones: Sequence[float], others: Sequence[float]) -> float:
    """The p of Mann and Whitney's test, two-sided, by its normal approximation; for 20 or more of each."""
    smaller = sum((one < other) + (one == other) / 2 for one in ones for other in others)
    num, total = len(ones) * len(others), len(ones) + len(others)
    deviation = math.sqrt(num * (total + 1) / 12)
    return math.erfc(abs(smaller - num / 2) / deviation / math.sqrt(2))


def _prompt(random: Random) -> str:
    return " ".join(random.choices(WORDS, k=NUM_WORDS))


async def _first_text_ms(client: KernelClient, prompt: str, salt: int) -> float:
    body = msgspec.structs.replace(chat(prompt, max_tokens=1), cache_salt=salt)
    started_s = time.perf_counter()
    async with client.submit(task="chat", model=REAL, body=body) as submission:
        async for update in submission:
            if isinstance(update, Delta):
                break
    return (time.perf_counter() - started_s) * 1e3


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200)):
        print(figure)
