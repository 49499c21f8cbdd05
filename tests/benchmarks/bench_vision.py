"""Pictures through HTTP: decoding against mlx-vlm alone, the same picture again, and four at once.

Both run demo/tiny-vl with the same weights; while one measures the other idles. Every picture is new but
where it says otherwise, so that no cache helps.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from library import Library
from PIL import Image
from support import ROOT, Figure, percentile, real_home, running_kernel

from kernel.demos import EMBEDDED

MODEL = "demo/tiny-vl"
NUM_STREAMS = 4
NUM_TOKENS = 100
# Of each kind in a round.
NUM_PAIRS = 4
# The largest that the model looks at: 144 tokens.
SIDE = 336


def new_picture() -> bytes:
    """A PNG file with noise in it: no two are the same."""
    noise = Image.frombytes("RGB", (SIDE // 8, SIDE // 8), random.randbytes((SIDE // 8) ** 2 * 3))
    file = io.BytesIO()
    noise.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


async def ask(
    session: aiohttp.ClientSession, url: str, picture: bytes, num_tokens: int = NUM_TOKENS
) -> tuple[float, float]:
    """Seconds from the request to the first token, and from there to the last."""
    data_url = "data:image/png;base64," + base64.b64encode(picture).decode()
    image = {"type": "image_url", "image_url": {"url": data_url}}
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": [image, {"type": "text", "text": "Describe the image."}]}],
        "max_tokens": num_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started_s = time.perf_counter()
    first_s, usage = 0.0, None
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            usage = event.get("usage")
            if not first_s and event["choices"] and event["choices"][0]["delta"].get("content"):
                first_s = time.perf_counter()
    assert usage is not None
    assert usage["completion_tokens"] == num_tokens, usage
    return first_s - started_s, time.perf_counter() - first_s


async def decode_ratios(
    session: aiohttp.ClientSession, url: str, library: Library, rounds: int
) -> tuple[list[float], list[float]]:
    """Of *rounds* pairs: through HTTP over alone, and the rate through HTTP."""
    ratios, rates = [], []
    for n in range(rounds + 1):
        picture = new_picture()

        async def through_http(picture: bytes = picture) -> float:
            return (NUM_TOKENS - 1) / (await ask(session, url, picture))[1]

        async def alone(picture: bytes = picture) -> float:
            encoded = base64.b64encode(picture).decode()
            return await asyncio.to_thread(library.rate, picture=encoded, tokens=NUM_TOKENS)

        # Who is first alternates, for machines that drift.
        if n % 2:
            served, bare = await through_http(), await alone()
        else:
            bare, served = await alone(), await through_http()
        if n:  # The first round warms up.
            ratios.append(served / bare)
            rates.append(served)
    return ratios, rates


async def again_ratios(session: aiohttp.ClientSession, url: str, rounds: int) -> list[float]:
    """Time to the first token of the same picture again, over the first time."""
    ratios = []
    for _ in range(rounds):
        picture = new_picture()
        first, _ = await ask(session, url, picture, num_tokens=4)
        again, _ = await ask(session, url, picture, num_tokens=4)
        ratios.append(again / first)
    return ratios


async def at_once_ratios(session: aiohttp.ClientSession, url: str, rounds: int) -> list[float]:
    """Throughput of answers at once, over one after another."""
    ratios = []
    for _ in range(rounds):
        started_s = time.perf_counter()
        for _ in range(NUM_STREAMS):
            await ask(session, url, new_picture())
        alone_s = time.perf_counter() - started_s
        pictures = [new_picture() for _ in range(NUM_STREAMS)]
        started_s = time.perf_counter()
        await asyncio.gather(*[ask(session, url, picture) for picture in pictures])
        ratios.append(alone_s / (time.perf_counter() - started_s))
    return ratios


@dataclass
class Found:
    """What all rounds found."""

    decode: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)


async def _round(home: Path, found: Found) -> None:
    """A few of each, by new processes on both sides."""
    async with (
        running_kernel(home, http=True, model=MODEL) as (_, _, url),
        aiohttp.ClientSession() as session,
    ):
        library = await asyncio.to_thread(
            Library, "vision", "vision_library_host.py", ROOT / "workers" / EMBEDDED[MODEL]
        )
        ratios, rates = await decode_ratios(session, url, library, NUM_PAIRS)
        library.close()
        found.decode += ratios
        found.rates += rates
        found.again += await again_ratios(session, url, NUM_PAIRS)
        found.at_once += await at_once_ratios(session, url, NUM_PAIRS)


async def measure(rounds: int) -> list[Figure]:
    """Medians of *rounds* of a few pairs each. Where its memory lies makes a process some percent faster or
    slower for its life, so each round has its own processes."""
    home = real_home()
    found = Found()
    for _ in range(rounds):
        await _round(home, found)
    return [
        _figure(
            "decode with a picture through HTTP / mlx_vlm.stream_generate",
            found.decode,
            (">=", 0.97),
            f"{percentile(found.rates, 50):.1f} tok/s, ",
        ),
        _figure("time to first token, same picture again / first time", found.again, ("<=", 0.5)),
        _figure(
            f"{NUM_STREAMS} answers about pictures at once / one after another", found.at_once, (">=", 1.5)
        ),
    ]


def _figure(name: str, ratios: list[float], target: tuple[str, float], detail: str = "") -> Figure:
    detail += f"ratios {min(ratios):.2f}..{max(ratios):.2f}"
    return Figure(name, percentile(ratios, 50), "x", target, detail)


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)):
        print(figure)
