"""How long prompts are read: what a running stream notices, and how fast against mlx-lm alone.

The gaps between the tokens of one stream of the default model, at rest and while a prompt of nearly its whole
context of 8192 tokens is read. And a shorter prompt alone, in turn with mlx_lm.stream_generate.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Callable

from library import Library
from support import REAL, Figure, percentile, real_home, running_kernel

from plugins.client import KernelClient
from transports.messages import ChatMessage, ChatRequest, CompletionRequest, Delta, Sampling

NUM_PROMPT_TOKENS = 8000
# Of the prompt that is read alone.
NUM_ALONE_TOKENS = 2000
# At rest; beside the prompt as many as come.
NUM_TOKENS = 150


def story(max_tokens: int) -> ChatRequest:
    """A short prompt with a long answer."""
    message = ChatMessage(role="user", content="Tell me a long story about a lighthouse.")
    return ChatRequest(
        messages=(message,), sampling=Sampling(temperature=0), max_tokens=max_tokens, ignore_eos=True
    )


async def gaps_ms(client: KernelClient, max_tokens: int, is_over: Callable[[], bool]) -> list[float]:
    """Between the deltas of one stream, milliseconds, until it ends or *is_over*."""
    seen_s: list[float] = []
    async with client.submit(task="chat", model=REAL, body=story(max_tokens)) as answer:
        async for update in answer:
            if is_over():
                break
            if isinstance(update, Delta):
                seen_s.append(time.perf_counter())
    return [(after - before) * 1e3 for before, after in itertools.pairwise(seen_s)]


def prompt_of(number: int, num_tokens: int) -> list[int]:
    """One that no other begins like."""
    return [(number * 7919 + at * 31) % 40_000 + 1000 for at in range(num_tokens)]


async def read_prompt(client: KernelClient, prompt: list[int]) -> float:
    """Time to the first token, seconds."""
    body = CompletionRequest(
        prompt=tuple(prompt), sampling=Sampling(temperature=0), max_tokens=1, ignore_eos=True
    )
    started = time.perf_counter()
    async with client.submit(task="completion", model=REAL, body=body) as answer:
        async for update in answer:
            if isinstance(update, Delta):
                break
    return time.perf_counter() - started


async def alone(client: KernelClient, library: Library, rounds: int) -> list[tuple[float, float]]:
    """Tokens of a prompt a second through the kernel and by the library, *rounds* times in turn."""
    rates = []
    for number in range(100, 100 + rounds):
        prompt = prompt_of(number, NUM_ALONE_TOKENS)
        ours = NUM_ALONE_TOKENS / await read_prompt(client, prompt)
        rates.append((ours, await asyncio.to_thread(library.rate, prompts=[prompt], tokens=1)))
    return rates


async def measure(rounds: int) -> list[Figure]:
    """Percentiles over all gaps of *rounds* streams at rest, and of as many beside a prompt."""
    at_rest: list[float] = []
    beside: list[float] = []
    reading_s: list[float] = []
    home = real_home()
    async with running_kernel(home, model=REAL) as (_, client, _):
        await gaps_ms(client, 20, lambda: False)
        for number in range(rounds):
            at_rest += await gaps_ms(client, NUM_TOKENS, lambda: False)
            stream_has_begun = asyncio.create_task(asyncio.sleep(2))
            reading: list[asyncio.Task[float]] = []
            stream = asyncio.create_task(
                gaps_ms(client, 8000, lambda reading=reading: bool(reading and reading[0].done()))  # type: ignore[misc]
            )
            await stream_has_begun
            reading.append(asyncio.create_task(read_prompt(client, prompt_of(number, NUM_PROMPT_TOKENS))))
            reading_s.append(await reading[0])
            beside += await stream
        library = await asyncio.to_thread(Library, "text", "library_host.py", home / "models" / REAL)
        rates = await alone(client, library, rounds + 1)
        library.close()
    rest, busy = percentile(at_rest, 99), percentile(beside, 99)
    medians = f"p50 {percentile(beside, 50):.3g} against {percentile(at_rest, 50):.3g} ms"
    return [
        Figure(
            f"gap between tokens of a stream beside a prompt of {NUM_PROMPT_TOKENS} tokens / at rest, p99",
            busy / rest,
            "x",
            ("<=", 3),
            f"{busy:.3g} against {rest:.3g} ms; {medians}; the prompt is read in {max(reading_s):.3g} s",
        ),
        Figure(
            f"a prompt of {NUM_ALONE_TOKENS} tokens alone, tok/s read / mlx_lm.stream_generate",
            percentile([ours / library for ours, library in rates], 50),
            "x",
            None,
            f"{percentile([ours for ours, _ in rates], 50):.0f} tok/s",
        ),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 2)):
        print(figure)
