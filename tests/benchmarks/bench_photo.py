"""The road of a photograph of 12 megapixels, from the HTTP body to pixels in the worker, beyond decoding it.

Through HTTP to an echo worker with eyes, against decoding and resizing the same file alone; they take turns.
"""

from __future__ import annotations

import asyncio
import base64
import io
import random
import sys
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

from PIL import Image
from support import ECHO, Figure, echo_home, percentile, running_kernel, temporary_home

from plugins.media.decode import decode
from plugins.media.decode_task import Task
from plugins.media.picture_size import max_side
from transports.settings import MediaSettings

# 12 megapixels, as a telephone takes them.
WIDTH, HEIGHT = 4032, 3024
# Makes a file of about 4 MB of what is drawn here.
QUALITY = 90
NUM_WARM_UPS = 3


def photograph() -> bytes:
    """A JPEG file with about as much in it as a photograph has."""
    noise = random.Random(0).randbytes(WIDTH // 8 * (HEIGHT // 8) * 3)
    small = Image.frombytes("RGB", (WIDTH // 8, HEIGHT // 8), noise)
    file = io.BytesIO()
    small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def decode_s(data: bytes, settings: MediaSettings) -> float:
    """Decoding and resizing alone, seconds."""
    task = Task(
        num_bytes=len(data),
        side=max_side("auto", settings.max_image_side),
        max_pixels=settings.max_image_pixels,
        pages="",
        max_pages=1,
        cpu_s=60,
        folder="",
        names=(),
        shared_from_bytes=0,
        max_shared_bytes=0,
    )
    started_s = time.perf_counter()
    for page in decode(data, task, lambda: None):
        page.picture.load()
    return time.perf_counter() - started_s


def ask_s(connection: HTTPConnection, body: bytes) -> float:
    """From the first byte of the request to the end of the answer, seconds."""
    started_s = time.perf_counter()
    # A client that does next to nothing itself: aiohttp's takes 5 ms to send so much.
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    assert response.status == 200, answer
    return time.perf_counter() - started_s


def request(data: bytes) -> bytes:
    """The JSON body with *data* as a data: URL."""
    url = b"data:image/jpeg;base64," + base64.b64encode(data)
    image = b'{"type":"image_url","image_url":{"url":"' + url + b'"}}'
    return b'{"model":"%b","messages":[{"role":"user","content":[%b]}]}' % (ECHO.encode(), image)


async def measure(count: int) -> list[Figure]:
    """Medians of *count* photographs each way."""
    data = photograph()
    body = request(data)
    roads, decodes = [], []
    with temporary_home() as folder:
        home = echo_home(folder, modalities=["text", "image"])
        async with running_kernel(home, http=True) as (_, _, url):
            connection = HTTPConnection(urlsplit(url).netloc)
            for turn in range(count + NUM_WARM_UPS):
                alone_s = await asyncio.to_thread(decode_s, data, MediaSettings())
                whole_s = await asyncio.to_thread(ask_s, connection, body)
                if turn >= NUM_WARM_UPS:
                    decodes.append(alone_s * 1e3)
                    roads.append((whole_s - alone_s) * 1e3)
            connection.close()
    detail = f"a file of {len(data) / 1e6:.1f} MB; decoding and resizing {percentile(decodes, 50):.3g} ms"
    name = "road of a 12-megapixel photograph over HTTP beyond decoding, p50"
    return [Figure(name, percentile(roads, 50), "ms", ("<=", 15), detail)]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 30)):
        print(figure)
