"""What a text stream notices of pictures that are decoded and looked at for another model.

The gaps between the tokens of one stream of the default model, at rest and while 20 requests with pictures
are under way to demo/tiny-vl, all through one HTTP frontend.
"""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import random
import sys
import time

import aiohttp
from bench_vision import MODEL as VISION
from PIL import Image
from support import REAL, Figure, percentile, real_home, running_kernel

from transports.reports import Admin, DoneReply

NUM_PICTURES = 20
# Of a picture as it is sent: 3 megapixels, made smaller by the decode process.
SIDE = 1760
NUM_TOKENS = 120
QUALITY = 85


def new_question() -> bytes:
    """The body of a request about a JPEG file; no two are the same. Made beforehand, beside no stream."""
    noise = Image.frombytes("RGB", (SIDE // 8, SIDE // 8), random.randbytes((SIDE // 8) ** 2 * 3))
    file = io.BytesIO()
    noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=QUALITY)
    url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    image = {"type": "image_url", "image_url": {"url": url}}
    body = {"model": VISION, "messages": [{"role": "user", "content": [image]}], "max_tokens": 4}
    return json.dumps(body).encode()


async def gaps_ms(session: aiohttp.ClientSession, url: str) -> list[float]:
    """Between the events with text of one stream, milliseconds."""
    body = {
        "model": REAL,
        "messages": [{"role": "user", "content": "Tell me a long story about a lighthouse."}],
        "max_tokens": NUM_TOKENS,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
    }
    seen_s: list[float] = []
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                seen_s.append(time.perf_counter())
    return [(after - before) * 1e3 for before, after in itertools.pairwise(seen_s)]


async def look(session: aiohttp.ClientSession, url: str, question: bytes) -> None:
    """One short answer about a picture."""
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{url}/v1/chat/completions", data=question, headers=headers) as response:
        assert response.status == 200, await response.text()


async def gaps_beside_pictures_ms(session: aiohttp.ClientSession, url: str) -> list[float]:
    """As `gaps_ms`, from the first to the last of the requests with pictures."""
    questions = [new_question() for _ in range(NUM_PICTURES)]
    stream = asyncio.create_task(gaps_ms(session, url))
    await asyncio.gather(*[look(session, url, question) for question in questions])
    return await stream


async def measure(rounds: int) -> list[Figure]:
    """Percentiles over all gaps of *rounds* pairs of streams."""
    at_rest: list[float] = []
    beside: list[float] = []
    async with (
        running_kernel(real_home(), http=True, model=REAL) as (_, client, url),
        aiohttp.ClientSession() as session,
    ):
        await client.admin("load", Admin(model=VISION), DoneReply)
        for _ in range(2):  # Warms up both, and the decode processes.
            await gaps_ms(session, url)
            await asyncio.gather(*[look(session, url, new_question()) for _ in range(2)])
        for _ in range(rounds):
            at_rest += await gaps_ms(session, url)
            beside += await gaps_beside_pictures_ms(session, url)
    rest, busy = percentile(at_rest, 99), percentile(beside, 99)
    medians = f"p50 {percentile(beside, 50):.3g} against {percentile(at_rest, 50):.3g} ms"
    return [
        Figure(
            f"gap between tokens of a text stream beside {NUM_PICTURES} pictures / at rest, p99",
            busy / rest,
            "x",
            ("<=", 1.5),
            f"{busy:.3g} against {rest:.3g} ms; {medians}",
        )
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3)):
        print(figure)
