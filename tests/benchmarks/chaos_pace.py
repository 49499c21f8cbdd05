"""What real models can do on this machine now: how long a request may take before it counts as stuck.

A guess would be wrong: on two busy cores a prompt that an echo reads in a millisecond takes seconds, and one
step of a full batch as long as it takes the kernel to see that an echo hangs.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import msgspec
from chaos_clients import MAX_AT_ONCE, MAX_REAL_MARKERS, MAX_REAL_TOKENS
from chaos_outcome import marker
from chaos_world import SETTINGS, World

from plugins.client import KernelClient
from transports.messages import ChatMessage, ChatRequest
from transports.settings import KernelSettings

# Its worker may die twice and be loaded again before a request is refused; the third life brings its end.
NUM_LIVES = 3
# The faults and the load of the echo models take their part of the machine.
SHARE_LOST = 3


@dataclass
class Pace:
    """Of one model that is asked for the most that all clients ask for at once."""

    load_s: float
    # Until the last end.
    all_s: float
    # No step can have taken longer.
    longest_silence_s: float

    @property
    def slowest_s(self) -> float:
        """What a request of this model may need."""
        return NUM_LIVES * SHARE_LOST * (self.load_s + self.all_s)


async def measure(world: World, num_clients: int) -> None:
    """Have *world* wait as long for each real model as that needs, and take none for hung that computes.

    Args:
        world: Not started; what it did here is not counted.
        num_clients: Who ask at the same time.
    """
    world.kernel = KernelSettings(frontends=("http",))
    await world.start()
    try:
        paces = {model: await _pace(world, model, num_clients) for model in world.more_models}
    finally:
        await world.end()
    hung_after_s = max(
        SETTINGS.hung_after_s, *(SHARE_LOST * pace.longest_silence_s for pace in paces.values())
    )
    world.kernel = msgspec.structs.replace(
        SETTINGS, hung_after_s=hung_after_s, prefill_hung_after_s=hung_after_s
    )
    world.num_kernels = 0
    world.slowest_s = {model: pace.slowest_s for model, pace in paces.items()}
    for model, pace in paces.items():
        world.note(f"{model}: {pace}")


async def _pace(world: World, model: str, num_clients: int) -> Pace:
    client = await world.connect(KernelClient, "chaos-pace")
    try:
        began_s = time.monotonic()
        await world.admin("load", model)
        loaded_s = heard_s = time.monotonic()
        longest_silence_s = 0.0

        async def ask(number: int) -> None:
            nonlocal heard_s, longest_silence_s
            text = " ".join([marker(number, 0)] * MAX_REAL_MARKERS)
            body = ChatRequest(
                messages=(ChatMessage(role="user", content=text),),
                max_tokens=MAX_REAL_TOKENS,
                ignore_eos=True,
            )
            async with client.submit(task="chat", model=model, body=body) as answer:
                async for _ in answer:
                    now = time.monotonic()
                    longest_silence_s = max(longest_silence_s, now - heard_s)
                    heard_s = now

        await asyncio.gather(*[ask(number) for number in range(num_clients * MAX_AT_ONCE)])
        return Pace(loaded_s - began_s, time.monotonic() - loaded_s, longest_silence_s)
    finally:
        await client.close()
