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
# A person's PATH has no sbin.
WHERE = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin"
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
# With connections to us that it keeps, as many set it.
KEPT = NGINX.replace(
    "proxy_pass http://127.0.0.1:{upstream};",
    'proxy_pass http://mlxd; proxy_http_version 1.1; proxy_set_header Connection ""; '
    "proxy_set_header Host $http_host;",
).replace("server {{", "upstream mlxd {{ server 127.0.0.1:{upstream}; keepalive 4; }}\n    server {{")
START_NGINX = ("nginx", "-e", "stderr", "-c")
PROXIES = {
    "nginx": (NGINX, START_NGINX),
    "nginx that keeps connections": (KEPT, START_NGINX),
    "haproxy": (HAPROXY, ("haproxy", "-db", "-f")),
}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@asynccontextmanager
async def behind(name: str, door: Door, folder: Path) -> AsyncIterator[Door]:
    """The same frontend through a proxy."""
    text, (command, *options) = PROXIES[name]
    program = shutil.which(
        command, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin"
    )
    if program is None:
        pytest.skip(f"needs {command} (Debian's package of that name)")
    port = free_port()
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


# Ends of a request's head that one server may read in another way than the next: where does its body end?
AMBIGUOUS = [
    "Content-Length: {length}\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: {length}",
    "Content-Length: 0\r\nContent-Length: {length}",
    "Content-Length: {length}\r\nContent-Length: 0",
    "Content-Length: +{length}",
    "Content-Length: 0x{length:x}",
    "Content-Length: {length}, 0",
    "Content-Length : {length}",
    "Content-Length:\t{length}\r\nTransfer-Encoding:\x0bchunked",
    "Content-Length: {length}\r\nTransfer-Encoding: xchunked",
    "Content-Length: {length}\r\nTransfer-Encoding : chunked",
    "Content-Length: {length}\r\nTransfer-Encoding: identity, chunked",
    "Content-Length: {length}\r\nTransfer-Encoding: chunked, identity",
    "Content-Length: {length}\r\n Transfer-Encoding: chunked",
    "Content-Length: {length}\nTransfer-Encoding: chunked",
    "X: y\x00\r\nContent-Length: {length}",
    "Content-Length: {length}\r\nConnection: Content-Length",
    "Content-Length: {length}\r\nHost: other",
]


@pytest.mark.parametrize("name", PROXIES)
async def test_both_count_the_same_requests(name: str, tmp_path: Path) -> None:
    """faults.md H8: what is hidden in a body reaches no model unless its sender is answered."""
    async with open_door(header_timeout_s=1, body_timeout_s=1) as door, behind(name, door, tmp_path) as proxy:
        hidden = proxy.bytes_of("POST", PATH, chat_body(user="hidden"))
        chunks = b"0\r\n\r\n" + hidden
        received = []
        for head in AMBIGUOUS:
            start = (
                f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{proxy.port}\r\nContent-Type: application/json\r\n"
            )
            data = (start + head.format(length=len(chunks)) + "\r\n\r\n").encode("latin-1") + chunks
            connection = await proxy.raw(data)
            connection.writer.write_eof()
            received.append(await connection.rest())
            connection.close()
        # What came later on a connection to us that the proxy keeps is an own request, and answered as such.
        honest = await proxy.chat()

    num_answered = sum(data.count(b'"chat.completion"') for data in received)
    assert honest.status == 200
    assert len(door.client.submitted) == num_answered + 1
