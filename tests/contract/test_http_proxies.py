"""Row 49: nginx and HAProxy in front: what streams still streams, and who leaves has left.

nginx speaks HTTP/1.0 to us unless it is told not to, and gathers answers unless it is asked not to. HAProxy
keeps a client's leaving to itself unless it is told not to.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from http_harness import Door, chat_body, open_door, say_nothing, updates_of

from transports.messages import Delta

PATH = "/v1/chat/completions"
STREAM = chat_body(stream=True)
# Both proxies give up on who is silent for so long; by default they do after 60 s.
IDLE_S = 1
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_read_timeout {idle_s}s; }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client {idle_s}s
    timeout server {idle_s}s
    option abortonclose
frontend outside
    bind 127.0.0.1:{port}
    default_backend mlxd
backend mlxd
    server mlxd 127.0.0.1:{upstream}
"""
PROXIES = {"nginx": (NGINX, ("-e", "stderr", "-c")), "haproxy": (HAPROXY, ("-db", "-f"))}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@asynccontextmanager
async def behind(name: str, door: Door, folder: Path) -> AsyncIterator[Door]:
    """The same frontend through a proxy."""
    program = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip(f"needs {name} (Debian's package of that name)")
    port = free_port()
    text, options = PROXIES[name]
    config = folder / "proxy.conf"
    config.write_text(text.format(folder=folder, port=port, upstream=door.port, idle_s=IDLE_S))
    process = await asyncio.create_subprocess_exec(
        program, *options, config, stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                break
        yield Door(door.client, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("name", PROXIES)
async def test_each_word_passes_at_once_and_silence_is_filled(name: str, tmp_path: Path) -> None:
    async with open_door(sse_keepalive_s=IDLE_S / 4) as door, behind(name, door, tmp_path) as proxy:
        door.client.script = say_nothing
        connection = await proxy.raw(proxy.bytes_of("POST", PATH, STREAM))
        await door.client.wait_for(lambda: door.client.submitted)
        submission, _ = door.client.submitted[0]
        # Twice as long as the proxy waits.
        for _ in range(8):
            await connection.until(b": keep-alive\n\n")
        submission.put(Delta(id=submission.id, text="first"))
        # It is here before there is anything else.
        await connection.until(b'"content":"first"')
        for update in updates_of(submission, " and last"):
            submission.put(update)
        await connection.until(b"[DONE]\n\n")
        connection.close()

    assert door.client.cancelled == []


@pytest.mark.parametrize("name", PROXIES)
async def test_a_client_that_leaves_the_proxy_leaves_us(name: str, tmp_path: Path) -> None:
    async with open_door() as door, behind(name, door, tmp_path) as proxy:
        door.client.script = say_nothing
        connection = await proxy.raw(proxy.bytes_of("POST", PATH, STREAM))
        await door.client.wait_for(lambda: door.client.submitted)
        submission, _ = door.client.submitted[0]
        submission.put(Delta(id=submission.id, text="first"))
        await connection.until(b'"content":"first"')

        connection.close()

        async with asyncio.timeout(1):
            await door.client.wait_for(lambda: door.client.cancelled)


@pytest.mark.parametrize("name", PROXIES)
async def test_whole_answers_and_refusals_pass_unchanged(name: str, tmp_path: Path) -> None:
    async with open_door() as door, behind(name, door, tmp_path) as proxy:
        answer = await proxy.chat()
        refusal = await proxy.chat(temperature=-1)

    assert (answer.status, answer.json["choices"][0]["message"]["content"]) == (200, "Hello world")
    assert (refusal.status, refusal.error["param"]) == (400, "temperature")
