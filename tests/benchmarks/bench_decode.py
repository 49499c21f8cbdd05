"""Decoding through HTTP against mlx-lm alone, in turn: one stream, and eight at once.

Both run the default model with the same weights, prompts and number of tokens; while one measures the other
idles. Prompts differ from each other and from round to round, so that no prompt cache helps.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from support import REAL, ROOT, Figure, percentile, real_home, running_kernel

NUM_STREAMS = 8
NUM_PROMPT_TOKENS = 64
NUM_TOKENS = 64


class Library:
    """mlx-lm in a process of its own."""

    def __init__(self, python: Path, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("library_host.py"), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._line()

    def rate(self, prompts: list[list[int]]) -> float:
        """Tokens a second."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompts": prompts, "tokens": NUM_TOKENS}) + "\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


async def _stream(session: aiohttp.ClientSession, url: str, prompt: list[int]) -> tuple[float, float]:
    """When the first and the last token came."""
    body = {
        "model": REAL,
        "prompt": prompt,
        "max_tokens": NUM_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
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
    assert usage["completion_tokens"] == NUM_TOKENS, usage
    return first_s, time.perf_counter()


async def _http_rate(session: aiohttp.ClientSession, url: str, prompts: list[list[int]]) -> float:
    """As `Library.rate`."""
    started_s = time.perf_counter()
    times = await asyncio.gather(*[_stream(session, url, prompt) for prompt in prompts])
    if len(prompts) == 1:
        first_s, last_s = times[0]
        return (NUM_TOKENS - 1) / (last_s - first_s)
    return NUM_TOKENS * len(prompts) / (max(last_s for _, last_s in times) - started_s)


def _prompts(seed: int, count: int) -> list[list[int]]:
    """Token ids below the vocabulary; what they mean does not matter to a decode step."""
    return [
        [(seed * 7919 + at * 104_729 + i * 31) % 40_000 + 100 for i in range(NUM_PROMPT_TOKENS)]
        for at in range(count)
    ]


async def measure(rounds: int) -> list[Figure]:
    """Medians of the ratios of *rounds* pairs."""
    home = real_home()
    ratios: dict[int, list[float]] = {1: [], NUM_STREAMS: []}
    rates: dict[int, list[float]] = {1: [], NUM_STREAMS: []}
    async with (
        running_kernel(home, http=True, model=REAL) as (_, _, url),
        aiohttp.ClientSession() as session,
    ):
        (environment,) = (home / "envs").glob("text-*")
        library = await asyncio.to_thread(Library, environment / "bin" / "python", home / "models" / REAL)
        for n in range(rounds + 1):
            for count in (1, NUM_STREAMS):
                sides = [
                    lambda count=count, n=n: _http_rate(session, url, _prompts(4 * n, count)),
                    lambda count=count, n=n: asyncio.to_thread(library.rate, _prompts(4 * n + 2, count)),
                ]
                # Who is first alternates, for machines that drift.
                order = (0, 1) if n % 2 else (1, 0)
                measured = {side: await sides[side]() for side in order}
                if n:  # The first round warms up.
                    ratios[count].append(measured[0] / measured[1])
                    rates[count].append(measured[0])
        library.close()
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
