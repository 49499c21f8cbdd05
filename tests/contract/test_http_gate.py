"""Who is answered: web pages of others are not, and no header makes us read what we should not."""

from __future__ import annotations

import pytest
from http_harness import chat_body, open_door

from plugins.http.gate import Gate
from transports.errors import Forbidden

PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:11440",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:11440",
        "127.9.9.9",
        "[::1]:11440",
    ],
)
def test_loopback_hosts_are_answered(host):
    Gate("127.0.0.1", ()).check({"Host": host})


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "evil/?",
        "localhost@evil",
        "evil@localhost",
        "a b",
        "localhost:",
        "localhost:999999",
        "localhost:80:80",
        "[::1",
        "::1",
        "[::2]",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "ⓛocalhost",
        "\uff11\uff12\uff17.0.0.1",
        "localhost\n",
        "localhost.",
    ],
)
def test_other_hosts_are_not(host):
    with pytest.raises(Forbidden):
        Gate("127.0.0.1", ()).check({"Host": host})


@pytest.mark.parametrize(
    ("host", "connected_to"),
    [
        ("192.0.2.1:80", "192.0.2.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("[fe80::1]:11440", "fe80::1%eth0"),
    ],
)
def test_the_address_that_was_connected_to_is_answered_however_it_is_written(host, connected_to):
    gate = Gate("::", ())
    gate.check({"Host": host}, connected_to)
    for other in ("192.0.2.2", "2001:db8::2", "fe80::2%eth0", ""):
        with pytest.raises(Forbidden):
            gate.check({"Host": host}, other)


def test_allowed_hosts_may_name_a_port():
    gate = Gate("127.0.0.1", ("mac.local", "Other.local:8080"))
    for host in ("mac.local", "MAC.local:9", "other.local:8080"):
        gate.check({"Host": host})
    for host in ("other.local", "other.local:80", "x.mac.local"):
        with pytest.raises(Forbidden):
            gate.check({"Host": host})


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost:3000",
        "http://localhost:11440.evil",
        "file://",
        "app://x",
    ],
)
def test_pages_of_other_origins_are_not_answered(origin):
    with pytest.raises(Forbidden):
        Gate("127.0.0.1", ()).check({"Host": "localhost:11440", "Origin": origin})


def test_our_own_pages_are_answered():
    gate = Gate("127.0.0.1", ())
    gate.check(
        {"Host": "localhost:11440", "Origin": "http://localhost:11440", "Sec-Fetch-Site": "same-origin"}
    )
    # The Vercel AI SDK, from Node.
    gate.check({"Host": "localhost:11440", "Sec-Fetch-Mode": "cors"})


async def test_a_refused_host_is_answered_before_its_body():
    async with open_door() as door:
        for path in (PATH, "/health", "/v1/models", "/nope"):
            data = door.bytes_of("POST", path, Host="evil.example", Content_Length="1000000")
            connection = await door.raw(data)
            reply = await connection.reply()
            connection.close()
            assert (reply.status, reply.error["code"]) == (403, "forbidden")
            assert reply.error["type"] == "permission_error"


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}]
)
async def test_cross_site_requests_are_refused_on_every_route(headers):
    async with open_door() as door:
        for method, path in (("POST", PATH), ("GET", "/v1/models"), ("GET", "/health"), ("OPTIONS", PATH)):
            reply = await door.request(method, path, **headers)
            assert reply.status == 403
            assert not any(name.startswith("access-control") for name in reply.headers)
    assert door.client.submitted == []


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/json",
        "application/json; charset=utf-16",
    ],
)
async def test_only_json_is_read(content_type):
    async with open_door() as door:
        reply = await door.post(PATH, chat_body(), Content_Type=content_type)

    assert (reply.status, reply.error["code"]) == (415, "unsupported_media_type")


async def test_json_with_a_charset_is_read():
    async with open_door() as door:
        for content_type in ("application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'):
            assert (await door.post(PATH, chat_body(), Content_Type=content_type)).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x"])
async def test_compressed_bodies_are_not_read(encoding):
    async with open_door() as door:
        reply = await door.post(PATH, chat_body(), Content_Encoding=encoding)

    assert reply.status == 415


async def test_no_answer_carries_a_cors_header():
    async with open_door() as door:
        for reply in (await door.chat(), await door.request("GET", "/v1/models"), await door.chat(n=5)):
            assert not any(name.startswith("access-control") for name in reply.headers)
