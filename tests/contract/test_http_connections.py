"""Connections have limits: of size, time and number; bad HTTP is answered and closed."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from asyncio.trsock import TransportSocket
from unittest.mock import Mock, call

import pytest
from aiohttp.http_parser import HttpRequestParser
from http_harness import chat_body, lower, open_door, say, say_nothing, updates_of

from plugins.http import connection_limit
from plugins.http.connection import Connection, _notice_loss
from plugins.http.frontend import HttpFrontend
from plugins.http.headers import ALWAYS
from transports.errors import ConfigError, PluginError

PATH = "/v1/chat/completions"
# Time for a limit of 0.1 s to be kept on a busy machine.
SOON_S = 3.0


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


async def test_a_body_over_the_limit_is_refused_by_its_length():
    async with open_door(max_body_bytes=1000) as door:
        connection = await door.raw(door.bytes_of("POST", PATH, Content_Length="1001"))
        reply = await connection.reply()
        connection.close()

    assert (reply.status, reply.error["code"]) == (413, "request_too_large")


async def test_a_body_over_the_limit_is_refused_while_it_is_counted():
    async with open_door(max_body_bytes=1000) as door:
        head = door.bytes_of("POST", PATH, Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")
        connection = await door.raw(head + chunked(b"x" * 600) + chunked(b"x" * 600))
        reply = await connection.reply()
        connection.close()

    assert reply.status == 413


async def test_a_chunked_body_under_the_limit_is_read():
    async with open_door() as door:
        head = door.bytes_of("POST", PATH, Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")
        body = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'
        connection = await door.raw(head + chunked(body[:20]) + chunked(body[20:]) + b"0\r\n\r\n")
        reply = await connection.reply()
        connection.close()

    assert reply.status == 200


async def test_a_body_that_does_not_come_is_given_up():
    async with open_door(body_timeout_s=0.1) as door:
        connection = await door.raw(door.bytes_of("POST", PATH, b"{", Content_Length="100"))
        async with asyncio.timeout(SOON_S):
            reply = await connection.reply()
        connection.close()

    assert (reply.status, reply.error["code"]) == (408, "request_timeout")


@pytest.mark.parametrize("data", [b"", b"GET /health HTTP/1.1\r\nHost:"])
async def test_headers_that_do_not_come_are_given_up(data):
    async with open_door(header_timeout_s=0.1) as door:
        connection = await door.raw(data)
        async with asyncio.timeout(SOON_S):
            assert await connection.rest() == b""


async def test_headers_of_a_second_request_that_do_not_come_are_given_up():
    async with open_door(header_timeout_s=0.1) as door:
        connection = await door.raw(door.bytes_of("GET", "/health"))
        await connection.reply()
        connection.writer.write(b"GET /hea")
        async with asyncio.timeout(SOON_S):
            assert await connection.rest() == b""


async def test_an_answer_may_take_longer_than_headers():
    async with open_door(header_timeout_s=0.1, keepalive_timeout_s=0.1) as door:
        door.client.script = lambda submission, body: asyncio.get_running_loop().call_later(
            0.5, say("late"), submission, body
        )
        reply = await door.chat()

    assert reply.status == 200


async def test_an_idle_connection_is_closed():
    async with open_door(keepalive_timeout_s=0.1) as door:
        connection = await door.raw(door.bytes_of("GET", "/health"))
        await connection.reply()
        async with asyncio.timeout(SOON_S):
            assert await connection.rest() == b""


async def test_connections_over_the_limit_are_refused_and_counted_again():
    async with open_door(max_connections=2) as door:
        held = [await door.raw(door.bytes_of("GET", "/health")) for _ in range(2)]
        for connection in held:
            await connection.reply()
        refused = await (await door.raw(b"")).reply()
        held.pop().close()
        await asyncio.wait_for(_answered(door), SOON_S)
        held.pop().close()

    assert refused.status == 503
    assert refused.error["type"] == "server_error"
    assert lower({**ALWAYS, "Retry-After": "1"}).items() <= refused.headers.items()


async def test_connections_over_the_limit_of_an_address_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback's have none, so these are told to come from elsewhere."""
    monkeypatch.setattr(connection_limit, "_who", lambda _: "192.0.2.1")
    async with open_door(max_connections_per_address=1) as door:
        first = await door.raw(door.bytes_of("GET", "/health"))
        assert (await first.reply()).status == 200
        refused = await (await door.raw(b"")).reply()
        first.close()
        await asyncio.wait_for(_answered(door), SOON_S)

    assert (refused.status, refused.error["code"]) == (503, "overloaded")
    assert "max_connections_per_address" in refused.error["message"]


async def _answered(door):
    while (await door.request("GET", "/health")).status != 200:
        pass


GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        GET + b"Host: evil\r\n\r\n",
        GET + b"X : y\r\n\r\n",
        GET + b"X: y\x00\r\n\r\n",
        GET + b"X: " + b"a" * 9000 + b"\r\n\r\n",
        GET + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET /health HTTP/1.1\nHost: localhost\n\n",
        GET + b"Content-Length: 0\r\nX: y\nZ: z\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n",
        POST + b"Content-Length: +5\r\n\r\n12345",
        POST + b"Content-Length: 1e3\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_bad_http_is_a_400_and_closes(data):
    async with open_door() as door:
        connection = await door.raw(data)
        reply = await connection.reply()
        rest = await connection.rest()
        good = await door.request("GET", "/health")

    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert lower(ALWAYS).items() <= reply.headers.items()
    assert b"200 OK" not in rest
    assert good.status == 200


@pytest.mark.parametrize(
    "data",
    [
        POST.replace(b"1.1", b"1.0")
        + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        GET.replace(b"1.1", b"2.0") + b"\r\n",
        b"GET /health\r\n\r\n",
    ],
)
async def test_what_others_may_see_another_end_of_is_a_400_and_closes(data):
    async with open_door() as door:
        for more in (b"", door.bytes_of("GET", "/health")):
            answer = await (await door.raw(data + more)).rest()
            assert answer.count(b"Server: mlxd") == 1
            assert b" 400 Bad Request\r\n" in answer


async def test_a_target_with_a_host_of_its_own_is_a_400():
    async with open_door() as door:
        reply = await door.request("GET", "http://localhost/health")

    assert reply.status == 400


async def test_a_broken_chunk_is_a_400():
    async with open_door() as door:
        head = door.bytes_of("POST", PATH, Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")
        connection = await door.raw(head)
        connection.writer.write(b"zz\r\nxx\r\n")
        reply = await connection.reply()
        connection.close()

    assert reply.status == 400


async def test_a_refused_body_is_not_taken_for_the_next_request():
    async with open_door() as door:
        inner = door.bytes_of("GET", "/health")
        connection = await door.raw(
            door.bytes_of("POST", "/nope", inner) + door.bytes_of("GET", "/v1/models")
        )
        first, second = await connection.reply(), await connection.reply()
        connection.close()

    assert (first.status, second.json["object"]) == (404, "list")


async def test_curl_waits_for_100_continue_with_a_large_body():
    async with open_door() as door:
        head, _, body = door.bytes_of("POST", PATH, chat_body(), Expect="100-continue").partition(b"\r\n\r\n")
        connection = await door.raw(head + b"\r\n\r\n")
        await connection.until(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.writer.write(body)
        reply = await connection.reply()
        connection.close()

    assert reply.status == 200


async def test_100_continue_is_not_said_to_a_refused_body():
    async with open_door(max_body_bytes=10) as door:
        reply = await door.post(PATH, chat_body(), Expect="100-continue")

    assert reply.status == 413


async def test_pipelined_requests_are_answered_in_order():
    async with open_door() as door:
        one = door.bytes_of("GET", "/health")
        connection = await door.raw(one * 50 + door.bytes_of("GET", "/nope"))
        statuses = [(await connection.reply()).status for _ in range(51)]
        connection.close()

    assert statuses == [200] * 50 + [404]


async def test_a_flood_of_pipelined_requests_waits_with_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2026-54273: no more of them is read than a few, and in the end all are answered."""
    made: list[Connection] = []
    connection_made = Connection.connection_made
    monkeypatch.setattr(
        Connection,
        "connection_made",
        lambda self, transport: (made.append(self), connection_made(self, transport)),
    )
    async with open_door() as door:
        door.client.script = say_nothing
        connection = await door.raw(door.bytes_of("POST", PATH, chat_body()))
        await door.client.wait_for(lambda: door.client.submitted)
        connection.writer.write(door.bytes_of("GET", "/health") * 300)
        transport = made[0].transport
        assert isinstance(transport, asyncio.Transport)
        async with asyncio.timeout(SOON_S):
            while transport.is_reading():
                await asyncio.sleep(0.01)
        submission, _ = door.client.submitted[0]
        for update in updates_of(submission, "late"):
            submission.put(update)
        statuses = [(await connection.reply()).status for _ in range(301)]
        connection.close()

    assert statuses == [200] * 301


def test_http_is_read_by_the_parser_in_c() -> None:
    """Most of what was found in aiohttp's parsers was in the other one (CVE-2026-111750)."""
    assert HttpRequestParser.__module__ == "aiohttp._http_parser"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/health", "/docs"])
async def test_there_are_no_web_sockets(path: str) -> None:
    """They would need the gate of their own: browsers let any page open one."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    async with open_door() as door:
        connection = await door.raw(
            door.bytes_of("GET", path, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", **upgrade)
        )
        reply = await connection.reply()
        connection.close()

    assert reply.status in (200, 405)
    assert "upgrade" not in reply.headers


async def test_a_port_in_use_says_by_whom():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PluginError) as raised:
            await HttpFrontend({"port": port}).open()

    assert raised.value.message.startswith(f"port {port} is in use")
    assert raised.value.message.endswith("; choose another with --port")


async def test_an_unknown_host_is_one_line():
    with pytest.raises(PluginError, match=r"host 'no\.such\.invalid' is not known"):
        await HttpFrontend({"host": "no.such.invalid", "port": 0}).open()


def test_a_wrong_setting_is_named():
    with pytest.raises(ConfigError, match=r"\$\.port"):
        HttpFrontend({"port": "x"})


async def test_localhost_listens_on_all_its_addresses_at_one_port():
    frontend = HttpFrontend({"host": "localhost", "port": 0})
    url = await frontend.open()
    port = int(url.rpartition(":")[2])
    for info in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with socket.socket(info[0]) as client:
            client.settimeout(SOON_S)
            client.connect(info[4])
    await frontend.close()

    assert url == f"http://localhost:{port}"


async def test_a_storm_of_clients_that_leave_leaves_nothing():
    def num_fds() -> int:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208 a count, on macOS too

    async with open_door() as door:
        door.client.script = say_nothing
        before = num_fds()
        for _ in range(10):
            storm = [await door.raw(door.bytes_of("POST", PATH, chat_body(stream=True))) for _ in range(20)]
            for connection in storm:
                connection.writer.transport.abort()
        await door.client.wait_for(lambda: len(door.client.cancelled) == len(door.client.submitted))
        reply = await door.request("GET", "/health")
        async with asyncio.timeout(SOON_S):
            while num_fds() > before:
                await asyncio.sleep(0.01)

    assert reply.status == 200


async def test_a_connection_that_takes_no_options_is_served(monkeypatch):
    """macOS refuses them for one whose client has left already, and says so in no other way."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    async with open_door() as door:
        monkeypatch.setattr(TransportSocket, "setsockopt", refuse)
        reply = await door.request("GET", "/health")

    assert reply.status == 200


def test_macos_ends_a_connection_that_leaves_bytes_unanswered(monkeypatch):
    """Keep-alive alone waits while something is unanswered, and the option of Linux is not there."""
    monkeypatch.setattr(sys, "platform", "darwin")
    tcp = Mock(spec=socket.socket)

    _notice_loss(tcp, 60.0)

    assert call(socket.IPPROTO_TCP, 0x80, 60) in tcp.setsockopt.mock_calls
