"""Decoding that keeps to a JSON Schema against decoding that does not, through HTTP, in turn on one worker.

The schema allows what the tokens asked for never fill, so that both sides make the same number of tokens.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
from bench_decode import NUM_STREAMS, NUM_TOKENS, NUM_WARM_TOKENS, http_rate, prompts_of
from support import REAL, Figure, percentile, real_home, running_kernel

SCHEMA = {
    "type": "array",
    "minItems": 10_000,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 3, "maxLength": 30},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "email": {"type": "string", "format": "email"},
            "role": {"enum": ["reader", "writer", "owner"]},
            "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2,12}$"}, "maxItems": 4},
        },
        "required": ["name", "age", "email", "role"],
        "additionalProperties": False,
    },
}


async def measure(rounds: int, model: str = REAL) -> list[Figure]:
    """Medians of the ratios of *rounds* pairs."""
    sides: tuple[dict[str, object], ...] = (
        {"model": model, "structured_outputs": {"json": SCHEMA}},
        {"model": model},
    )
    rates: dict[int, list[tuple[float, float]]] = {1: [], NUM_STREAMS: []}
    async with (
        running_kernel(real_home(), http=True, model=model) as (_, _, url),
        aiohttp.ClientSession() as session,
    ):
        for count, found in rates.items():
            for fields in sides:
                await http_rate(session, url, prompts_of(count, count), NUM_WARM_TOKENS, **fields)
            for n in range(rounds):
                # Who is first alternates, for machines that drift.
                order = (0, 1) if n % 2 else (1, 0)
                measured = {
                    at: await http_rate(
                        session, url, prompts_of(100 + 2 * n + at, count), NUM_TOKENS, **sides[at]
                    )
                    for at in order
                }
                found.append((measured[0], measured[1]))
    return [_figure(count, found) for count, found in rates.items()]


def _figure(count: int, found: list[tuple[float, float]]) -> Figure:
    ratios = [kept / free for kept, free in found]
    rate = percentile([kept for kept, _ in found], 50)
    return Figure(
        f"tok/s with a JSON Schema / without, {count} stream{'s' if count > 1 else ''}",
        percentile(ratios, 50),
        "x",
        (">=", 0.9),
        f"{rate:.1f} tok/s, ratios {min(ratios):.2f}..{max(ratios):.2f}",
    )


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5, *sys.argv[2:])):
        print(figure)
