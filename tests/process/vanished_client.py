"""Run in a network of its own: a client vanishes with the network; prints how long its request ran on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports.reports import Admin, DoneReply
from transports.settings import HttpSettings, KernelSettings, Settings

MODEL = "echo/slow"
SETTINGS = Settings(
    kernel=KernelSettings(frontends=("http",)), http=HttpSettings(port=0, write_timeout_s=3.0)
)
TOO_LONG_S = 20.0


async def main(home: Path) -> None:
    """Measure."""
    loopback("up")
    kernel = await KernelProcess.start(SETTINGS, home)
    client = await KernelClient.connect(kernel.connection.endpoint, kernel.connection.token, kind="test")
    await client.admin("load", Admin(model=MODEL), DoneReply)
    try:
        taken_s = {
            kind: await vanish(client, stream=stream)
            for kind, stream in (("streamed", True), ("whole", False))
        }
    finally:
        await client.close()
        kernel.end()
        await kernel.wait()
    print(json.dumps(taken_s))


async def vanish(client: KernelClient, *, stream: bool) -> float:
    """Seconds from the network's end to that of the request."""
    loopback("up")
    while not (url := next((f.address for f in (await client.status()).frontends if f.address), "")):
        await asyncio.sleep(0.02)
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = {
        "model": MODEL,
        "stream": stream,
        "messages": [{"role": "user", "content": "word " * 10_000}],
    }
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    while not any(w.num_active for w in (await client.status()).workers):
        await asyncio.sleep(0.01)
    loopback("down")
    gone_s = time.monotonic()
    async with asyncio.timeout(TOO_LONG_S):
        while any(w.num_active for w in (await client.status()).workers):
            await asyncio.sleep(0.05)
    writer.transport.abort()
    return time.monotonic() - gone_s


def loopback(state: str) -> None:
    """Switch the only interface."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


asyncio.run(main(Path(sys.argv[1])))
