"""Pictures by URL: nothing inside the network is ever reached, and nobody learns what is there."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from picture_host import Answer, PictureHost, file, picture_host, saying

from plugins.media import fetch
from plugins.media.addresses import is_public
from plugins.media.fetch import MAX_PARALLEL, Fetcher, Lookup
from transports.errors import RequestError
from transports.settings import MediaSettings

PATH = "messages[0].content[1].image_url"
PNG = b"\x89PNG and so on"
LOOPBACK = frozenset({"127.0.0.1"})


@asynccontextmanager
async def fetcher(lookup: Lookup | None = None, **settings: Any) -> AsyncIterator[Fetcher]:
    made = Fetcher(MediaSettings(**settings), lookup or socket.getaddrinfo)
    try:
        yield made
    finally:
        made.close()


async def fetched(url: str, lookup: Lookup | None = None, **settings: Any) -> bytes:
    async with fetcher(lookup, **settings) as made:
        return await made.fetch(url, PATH)


async def refusal(url: str, lookup: Lookup | None = None, **settings: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await fetched(url, lookup, **settings)
    assert caught.value.param == PATH
    assert caught.value.message.startswith(f"{PATH}: ")
    return caught.value


def answers(*addresses: str) -> Lookup:
    """A name server that says *addresses*, one after the other, and counts in `asked`."""
    left = list(addresses)

    def lookup(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        address = left.pop(0) if len(left) > 1 else left[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    return lookup


@pytest.fixture
async def canary() -> AsyncIterator[PictureHost]:
    async with picture_host(file(PNG)) as host:
        yield host


async def test_a_named_host_gives_its_picture(canary: PictureHost) -> None:
    """The canary sings: it sees what the tests below say that it does not see."""
    assert await fetched(canary.url, allowed_hosts=("127.0.0.1",)) == PNG
    assert await fetched(f"http://LocalHost:{canary.port}/", allowed_hosts=("localhost",)) == PNG
    assert len(canary.heads) == 2


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "file://../x", "file:////etc/passwd", "FILE:/etc/passwd", "/etc/passwd"),
        *(
            "gopher://HOST/",
            "ftp://HOST/",
            "dict://HOST/",
            "jar:http://HOST/!/x",
            "ws://HOST/",
            "tcp://HOST/",
        ),
        *("//HOST/", "http:HOST", "http:///HOST", "http://", "https://", "http:", "HOST", "", " ", "x"),
        *(
            "http://HOST/\n",
            "ht\ttp://HOST/",
            "http://HOST/\x00",
            "http://127.0.0.1\t:PORT/",
        ),
        *("http://me@HOST/", "http://me:secret@HOST/", "http://HOST:99999/"),
        *("http://example.com\\@HOST/", "http://HOST\\.example.com/", "http://HOST/" + "x" * 10_000),
    ],
)
async def test_other_schemes_and_crooked_urls_are_refused(url: str, canary: PictureHost) -> None:
    """Even for a host that may be reached."""
    url = url.replace("HOST", f"127.0.0.1:{canary.port}").replace("PORT", str(canary.port))

    error = await refusal(url, allowed_hosts=("127.0.0.1",))

    assert error.http_status == 400
    assert canary.heads == []


LOCAL_HOSTS = [
    *("127.0.0.1", "127.1", "127.0.1", "0x7f000001", "0x7f.1", "2130706433", "0177.0.0.1", "017700000001"),
    *(
        "0",
        "0.0.0.0",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "ⓛocalhost",
        "\uff11\uff12\uff17.0.0.1",
        "127。0。0。1",
    ),
    *("127.0.0.1%00.example.com", "127.0.0.1%2f", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::1%25lo]", "[::ffff:0:127.0.0.1]"),
]


@pytest.mark.parametrize("host", LOCAL_HOSTS)
async def test_no_spelling_of_this_machine_is_reached(host: str, canary: PictureHost) -> None:
    error = await refusal(f"http://{host}:{canary.port}/picture.png", fetch_timeout_s=2)

    assert error.http_status == 400
    assert canary.heads == []


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
        ),
        *(
            "100.64.0.1",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
        ),
        *("240.0.0.1", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1"),
        *(
            "64:ff9b::a00:1",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2002:808:808::",
            "2001:0:7f00:1::",
            "fec0::1",
        ),
        *(
            "fe80::1",
            "fe80::1%eth0",
            "fd00:ec2::254",
            "fc00::1",
            "ff02::1",
            "ff0e::1",
            "2001:db8::1",
            "5f00::1",
        ),
        *("127.1", "2130706433", "0177.0.0.1", "localhost", "", "1.1.1.1 ", "\u0661.1.1.1"),
    ],
)
def test_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_a_name_that_leads_inside_is_refused(address: str, canary: PictureHost) -> None:
    await refusal(f"http://pictures.test:{canary.port}/", answers(address))

    assert canary.heads == []


async def test_one_inner_address_spoils_all_of_a_name(
    canary: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first does not answer, the next would be tried."""
    monkeypatch.setattr(fetch, "is_public", LOOPBACK.__contains__)

    def both(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        return [*answers("127.0.0.1")(host, port), *answers("10.0.0.1")(host, port)]

    await refusal(f"http://pictures.test:{canary.port}/", both)

    assert canary.heads == []


async def test_a_public_name_is_fetched(canary: PictureHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "is_public", LOOPBACK.__contains__)

    assert await fetched(f"http://pictures.test:{canary.port}/", answers("127.0.0.1")) == PNG


async def test_a_name_that_changes_after_the_check_is_connected_to_where_it_was_checked(
    canary: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the public address first, which nobody answers on here, then the canary's."""
    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.2")

    await refusal(
        f"http://pictures.test:{canary.port}/", answers("127.0.0.2", "127.0.0.1"), fetch_timeout_s=1
    )

    assert canary.heads == []


async def test_the_socket_is_the_last_to_check(canary: PictureHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when whoever resolves the name lets an address through."""
    monkeypatch.setattr(fetch._Resolver, "resolve", _resolve_to_loopback)

    await refusal(f"http://pictures.test:{canary.port}/")

    assert canary.heads == []


async def _resolve_to_loopback(_: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
    return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 6, "flags": 0}]


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"303 See Other", b"307 Again", b"308 Again"])
@pytest.mark.parametrize("target", ["http://127.0.0.1:PORT/", "file:///etc/passwd", "/picture.png"])
async def test_redirects_are_not_followed(status: bytes, target: str, canary: PictureHost) -> None:
    location = b"Location: " + target.replace("PORT", str(canary.port)).encode()
    async with picture_host(file(PNG, location, status=status)) as host:
        await refusal(host.url, allowed_hosts=("127.0.0.1",))

        assert len(host.heads) == 1
    assert canary.heads == []


async def drip(writer: asyncio.StreamWriter) -> None:
    """A byte, and then one now and then, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Without end, as fast as it is taken."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


async def say_nothing(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    "answer",
    [
        drip,
        flood,
        say_nothing,
        file(bytes(1 << 20 | 1)),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000),
        saying(b"junk\r\n\r\n"),
        saying(b""),
        file(PNG, status=b"404 Not Found"),
        file(PNG, status=b"500 Oops"),
        file(PNG, status=b"206 Partial Content"),
    ],
    ids=lambda answer: getattr(answer, "__name__", "answer"),
)
async def test_whatever_a_host_does_is_over_in_time_and_told_in_the_same_words(answer: Answer) -> None:
    """The words do not depend on whether a host refuses, is not there, or is not to be reached."""
    async with picture_host(answer) as host:
        began_s = time.monotonic()
        error = await refusal(
            host.url, allowed_hosts=("127.0.0.1",), fetch_timeout_s=0.5, max_file_bytes=1 << 20
        )
        took_s = time.monotonic() - began_s

    other = await refusal("http://10.0.0.1/", fetch_timeout_s=0.5, max_file_bytes=1 << 20)
    assert (error.message, error.code) == (other.message, other.code)
    assert took_s < 2


async def test_the_same_words_for_names_that_are_not_and_ports_that_are_closed() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = await refusal(f"http://localhost:{bound.getsockname()[1]}/", allowed_hosts=("localhost",))

    def no_such_name(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    unknown = await refusal("http://nowhere.test/", no_such_name)
    inner = await refusal("http://192.168.1.1/")
    assert closed.message == unknown.message == inner.message


async def test_a_name_inside_takes_as_long_as_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a stranger could time is the name server: for neither a connection is begun."""
    begun: list[object] = []

    def begin(address: object) -> socket.socket:
        begun.append(address)
        raise OSError("the test goes no further")

    monkeypatch.setattr(fetch, "_open_public", begin)

    def no_such_name(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    unknown = await refusal("http://nowhere.test/", no_such_name)
    inner = await refusal("http://inside.test/", answers("10.0.0.1"))
    assert (begun, inner.message) == ([], unknown.message)
    # Of a public one it is.
    await refusal("http://outside.test/", answers("93.184.216.34"))
    assert len(begun) == 1


async def test_a_body_without_a_length_is_read_to_its_end() -> None:
    async with picture_host(saying(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)) as host:
        assert await fetched(host.url, allowed_hosts=("127.0.0.1",)) == PNG


async def test_nothing_is_unpacked() -> None:
    """A gzip bomb stays as small as it came; it is no picture then."""
    bomb = gzip.compress(bytes(1 << 20))
    async with picture_host(file(bomb, b"Content-Encoding: gzip")) as host:
        assert await fetched(host.url, allowed_hosts=("127.0.0.1",)) == bomb

    assert b"accept-encoding: identity\r\n" in host.heads[0].lower()


async def test_it_says_who_it_is_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, canary: PictureHost
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", os.fspath(netrc))
    monkeypatch.setenv("HTTP_PROXY", canary.url)
    monkeypatch.setenv("http_proxy", canary.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with (
        picture_host(file(PNG, b"Set-Cookie: a=b")) as host,
        fetcher(allowed_hosts=("127.0.0.1",)) as made,
    ):
        for _ in range(2):
            await made.fetch(host.url, PATH)

    names = {
        line.partition(b":")[0].lower() for head in host.heads for line in head.split(b"\r\n")[1:] if line
    }
    assert names == {b"host", b"accept", b"accept-encoding", b"user-agent", b"connection"}
    assert b"User-Agent: mlxd/" in host.heads[0]
    assert canary.heads == []


async def test_only_so_many_are_fetched_at_once() -> None:
    is_over = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        await file(PNG)(writer)

    async with picture_host(wait) as host, fetcher(allowed_hosts=("127.0.0.1",)) as made:
        fetching = [asyncio.create_task(made.fetch(host.url, PATH)) for _ in range(100)]
        await _until(lambda: host.num_open >= MAX_PARALLEL)
        is_over.set()
        await asyncio.gather(*fetching)

    assert host.max_open == MAX_PARALLEL


async def test_waiting_for_others_counts() -> None:
    async with (
        picture_host(say_nothing) as host,
        fetcher(allowed_hosts=("127.0.0.1",), fetch_timeout_s=0.5) as made,
    ):
        began_s = time.monotonic()
        many = (made.fetch(host.url, PATH) for _ in range(2 * MAX_PARALLEL + 1))
        results = await asyncio.gather(*many, return_exceptions=True)

    assert all(isinstance(result, RequestError) for result in results)
    assert time.monotonic() - began_s < 1.3


async def announce(writer: asyncio.StreamWriter) -> None:
    """More than anybody wants, and then nothing of it."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    await asyncio.sleep(60)


@pytest.mark.parametrize("answer", [flood, announce])
async def test_what_is_too_large_is_given_up_at_once(answer: Answer) -> None:
    async with picture_host(answer) as host:
        began_s = time.monotonic()
        await refusal(host.url, allowed_hosts=("127.0.0.1",), fetch_timeout_s=5, max_file_bytes=1 << 20)

    assert time.monotonic() - began_s < 2


async def test_a_client_that_leaves_closes_the_connection() -> None:
    async with picture_host(drip) as host, fetcher(allowed_hosts=("127.0.0.1",)) as made:
        fetching = asyncio.create_task(made.fetch(host.url, PATH))
        await _until(lambda: host.num_open == 1)
        fetching.cancel()

        await _until(lambda: host.num_open == 0)


async def test_a_name_server_that_hangs_is_not_waited_for() -> None:
    def hang(*_: object, **__: object) -> list[tuple[Any, ...]]:
        time.sleep(2)
        return []

    began_s = time.monotonic()
    async with fetcher(hang, fetch_timeout_s=0.2) as made:
        many = (made.fetch("http://pictures.test/", PATH) for _ in range(MAX_PARALLEL))
        fetching = asyncio.gather(*many, return_exceptions=True)
        await asyncio.sleep(0)
        # The threads of the event loop are still there for others.
        await asyncio.to_thread(time.monotonic)
        await fetching

    assert time.monotonic() - began_s < 1.6


async def test_remote_pictures_can_be_turned_off(canary: PictureHost) -> None:
    error = await refusal(canary.url, remote_images=False, allowed_hosts=("127.0.0.1",))

    assert "media.remote_images" in error.message
    assert canary.heads == []


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.01)
