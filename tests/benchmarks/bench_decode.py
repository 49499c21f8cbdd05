"""Decoding through HTTP against mlx-lm alone, in turn: one stream, and eight at once.

Both run the default model with the same weights, prompts and number of tokens; while one measures the other
idles. Prompts differ from each other and from round to round, so that no prompt cache helps.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from pathlib import Path

import aiohttp
from library import Library
from support import REAL, Figure, percentile, real_home, running_kernel

NUM_STREAMS = 8
NUM_PROMPT_TOKENS = 64
NUM_TOKENS = 64
NUM_WARM_TOKENS = 8


async def _stream(
    session: aiohttp.ClientSession, url: str, prompt: list[int], num_tokens: int, fields: dict[str, object]
) -> tuple[float, float]:
    """When the first and the last token came."""
    body = {
        "model": REAL,
        "prompt": prompt,
        "max_tokens": num_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **fields,
    }
    first_s, usage = 0.0, None
    async with session.post(f"{url}/v1/completions", json=body) as response:
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            usage = event["usage"]
            if not first_s and event["choices"]:
                first_s = time.perf_counter()
    assert usage is not None
    assert usage["completion_tokens"] == num_tokens, usage
    return first_s, time.perf_counter()


async def http_rate(
    session: aiohttp.ClientSession, url: str, prompts: list[list[int]], num_tokens: int, **fields: object
) -> float:
    """As `Library.rate`; *fields* are more of the request."""
    started_s = time.perf_counter()
    times = await asyncio.gather(*[_stream(session, url, prompt, num_tokens, fields) for prompt in prompts])
    if len(prompts) == 1:
        first_s, last_s = times[0]
        return (num_tokens - 1) / (last_s - first_s)
    return num_tokens * len(prompts) / (max(last_s for _, last_s in times) - started_s)


def prompts_of(seed: int, count: int) -> list[list[int]]:
    """Token ids below the vocabulary; what they mean does not matter to a decode step."""
    return [
        [(seed * 7919 + at * 104_729 + i * 31) % 40_000 + 100 for i in range(NUM_PROMPT_TOKENS)]
        for at in range(count)
    ]


async def _round(home: Path, n: int) -> dict[int, tuple[float, float]]:
    """Number of streams -> rates through HTTP and of the library, by new processes of both."""
    async with (
        running_kernel(home, http=True, model=REAL) as (_, _, url),
        aiohttp.ClientSession() as session,
    ):
        library = await asyncio.to_thread(Library, "text", "library_host.py", home / "models" / REAL)
        rates: dict[int, tuple[float, float]] = {}
        for count in (1, NUM_STREAMS):
            sides = [
                partial(http_rate, session, url),
                lambda prompts, tokens: asyncio.to_thread(library.rate, prompts=prompts, tokens=tokens),
            ]
            for at in (0, 1):  # A prompt's first tokens pay for what is made once.
                await sides[at](prompts_of(4 * n + at, count), NUM_WARM_TOKENS)
            # Who is first alternates, for machines that drift.
            order = (0, 1) if n % 2 else (1, 0)
            measured = {at: await sides[at](prompts_of(4 * n + 2 + at, count), NUM_TOKENS) for at in order}
            rates[count] = (measured[0], measured[1])
        library.close()
    return rates


async def measure(rounds: int) -> list[Figure]:
    """Medians of the ratios of *rounds* pairs. Where its memory lies makes a process some percent faster or
    slower for its life, so each round has its own processes."""
    home = real_home()
    found = [await _round(home, n) for n in range(rounds)]
    rates = {count: [of[count][0] for of in found] for count in (1, NUM_STREAMS)}
    ratios = {count: [of[count][0] / of[count][1] for of in found] for count in (1, NUM_STREAMS)}
    return [
        Figure(
            "decode through HTTP, 1 stream / mlx_lm.stream_generate",
            percentile(ratios[1], 50),
            "x",
            (">=", 0.97),
            f"{percentile(rates[1], 50):.1f} tok/s, ratios {min(ratios[1]):.2f}..{max(ratios[1]):.2f}",
        ),
        Figure(
            f"{NUM_STREAMS} streams through HTTP / BatchGenerator alone",
            percentile(ratios[NUM_STREAMS], 50),
            "x",
            (">=", 0.95),
            f"{percentile(rates[NUM_STREAMS], 50):.1f} tok/s, "
            f"ratios {min(ratios[NUM_STREAMS]):.2f}..{max(ratios[NUM_STREAMS]):.2f}",
        ),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)):
        print(figure)
