"""TLS by setting: the port speaks it and nothing else, and a wrong file is named."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from http_harness import NO_KEYS, Door, RawConnection, chat_body, open_door

from plugins.http import connection_limit, tls
from plugins.http.frontend import HttpFrontend
from plugins.media import certificates
from plugins.media.fetch import Fetcher
from transports.errors import ConfigError
from transports.settings import MediaSettings

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl, which makes the certificate, is not here")
SOON_S = 5.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A certificate for localhost, its key, another key, one with a password, and no PEM at all."""
    folder = tmp_path_factory.mktemp("tls")
    made = {name: folder / f"{name}.pem" for name in ("cert", "key", "other", "locked", "junk", "gone")}

    def openssl(*args: object) -> None:
        subprocess.run([str(OPENSSL), *map(str, args)], check=True, capture_output=True, timeout=30)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    named = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    openssl("req", "-x509", *curve, *named, "-keyout", made["key"], "-out", made["cert"])
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", made["other"])
    openssl("ec", "-in", made["key"], "-aes256", "-passout", "pass:x", "-out", made["locked"])
    made["junk"].write_text("no PEM")
    return made


async def test_the_port_speaks_tls_and_nothing_else(files: dict[str, Path]) -> None:
    async with open_door(**tls_settings(files)) as door:
        async with asyncio.timeout(SOON_S):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", door.port, ssl=trust_in(files), server_hostname="localhost"
            )
            body = chat_body(stream=True)
            writer.write(door.bytes_of("POST", "/v1/chat/completions", body, Connection="close"))
            answer = await reader.read()
            writer.close()
            plain = await door.raw(door.bytes_of("GET", "/health"))
            refused = await plain.rest()

    assert door.url == f"https://127.0.0.1:{door.port}"
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b"HTTP" not in refused


async def test_a_handshake_that_does_not_come_is_given_up(files: dict[str, Path]) -> None:
    async with open_door(header_timeout_s=0.2, **tls_settings(files)) as door:
        connection = await door.raw(b"")
        async with asyncio.timeout(SOON_S):
            assert await connection.rest() == b""


async def test_a_connection_that_is_not_encrypted_yet_counts(files: dict[str, Path]) -> None:
    async with open_door(max_connections=2, **tls_settings(files)) as door:
        silent = [await door.raw(b"") for _ in range(2)]
        async with asyncio.timeout(SOON_S):
            with pytest.raises(ConnectionError):
                await encrypted(door, files)
            silent.pop().close()
            answered = await answered_soon(door, files)
            with pytest.raises(ConnectionError):
                await encrypted(door, files)
            silent.pop().close()
            answered.close()


async def test_a_handshake_that_fails_counts_no_more(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The loopback has no limit of its own.
    monkeypatch.setattr(connection_limit, "_who", lambda _: "192.0.2.1")
    async with open_door(max_connections_per_address=1, header_timeout_s=0.2, **tls_settings(files)) as door:
        for said in (b"", b"no TLS", b"\x16\x03\x01"):
            failing = await door.raw(said)
            async with asyncio.timeout(SOON_S):
                await failing.rest()
                (await answered_soon(door, files)).close()
            failing.close()


async def test_a_renewed_certificate_counts_for_new_connections(
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    mine = {name: Path(shutil.copy(files[name], tmp_path)) for name in ("cert", "key")}

    async def shown(door: Door) -> bytes | None:
        connection = await encrypted(door, {"cert": tmp_path / "trusted.pem"})
        connection.writer.write(door.bytes_of("GET", "/health"))
        assert (await connection.reply()).status == 200
        connection.close()
        der: bytes | None = connection.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return der

    renewed = tmp_path / "renewed.pem"
    make_certificate(files["other"], renewed)
    (tmp_path / "trusted.pem").write_text(files["cert"].read_text() + renewed.read_text())
    async with open_door(**tls_settings(mine)) as door:
        first = await shown(door)
        renewed.rename(mine["cert"])
        # Its key has not come.
        between = await shown(door)
        shutil.copy(files["other"], mine["key"])
        second = await shown(door)
        mine["cert"].unlink()
        third = await shown(door)
    output = capsys.readouterr().out

    assert first == between != second == third
    assert (output.count("certificate_unusable"), output.count("certificate_changed")) == (2, 1)


async def test_what_comes_with_the_end_of_the_handshake_is_answered(files: dict[str, Path]) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust_in(files).wrap_bio(incoming, outgoing, server_hostname="localhost")
    async with open_door(**tls_settings(files)) as door, asyncio.timeout(SOON_S):
        connection = await door.raw(b"")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        connection.writer.write(outgoing.read())
        incoming.write(await connection.reader.read(65536))
        client.do_handshake()
        client.write(door.bytes_of("GET", "/health"))
        # In one piece with the client's last word of the handshake.
        connection.writer.write(outgoing.read())
        answer = b""
        while not answer:
            incoming.write(await connection.reader.read(65536))
            with suppress(ssl.SSLWantReadError):
                answer = client.read(65536)
        connection.close()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def make_certificate(key: Path, certificate: Path) -> None:
    """Another one for localhost, of this key."""
    named = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    command = [str(OPENSSL), "req", "-x509", "-days", "2", *named, "-key", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def tls_settings(files: dict[str, Path]) -> dict[str, str]:
    return {"tls_cert_file": str(files["cert"]), "tls_key_file": str(files["key"])}


def trust_in(files: dict[str, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files["cert"]))


async def encrypted(door: Door, files: dict[str, Path]) -> RawConnection:
    return RawConnection(
        *await asyncio.open_connection(
            "127.0.0.1", door.port, ssl=trust_in(files), server_hostname="localhost"
        )
    )


async def answered_soon(door: Door, files: dict[str, Path]) -> RawConnection:
    """A connection that got an answer, as soon as there is room for it."""
    while True:
        with suppress(ConnectionError):
            connection = await encrypted(door, files)
            connection.writer.write(door.bytes_of("GET", "/health"))
            assert (await connection.reply()).status == 200
            return connection


@pytest.mark.parametrize(
    ("cert", "key", "named"),
    [
        ("cert", "", "http.tls_key_file: required"),
        ("", "key", "http.tls_cert_file: required"),
        ("gone", "key", "gone.pem: No such file"),
        ("cert", "gone", "gone.pem: No such file"),
        ("junk", "key", "junk.pem"),
        ("cert", "junk", "junk.pem"),
        ("cert", "other", "other.pem is not the key of"),
        ("cert", "locked", "locked.pem"),
    ],
)
async def test_a_wrong_file_is_named(files: dict[str, Path], cert: str, key: str, named: str) -> None:
    given = {"tls_cert_file": cert and str(files[cert]), "tls_key_file": key and str(files[key])}

    with pytest.raises(ConfigError) as raised:
        await HttpFrontend({"port": 0, **given}, keys_path=NO_KEYS).open()
    assert named in raised.value.message
    assert "\n" not in raised.value.message


async def test_pictures_are_fetched_where_only_macos_knows_whom_to_believe(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python from python.org has no authorities of its own there."""
    none = ssl.get_default_verify_paths()._replace(cafile=None)
    with monkeypatch.context() as macos:
        macos.setattr(ssl, "get_default_verify_paths", lambda: none)
        macos.setattr(sys, "platform", "darwin")
        macos.setattr(certificates, "MACOS_FILE", str(files["cert"]))
        fetcher = Fetcher(MediaSettings(allowed_hosts=("localhost",)))
    async with open_door(tls_cert_file=str(files["cert"]), tls_key_file=str(files["key"])) as door:
        body = await fetcher.fetch(f"https://localhost:{door.port}/health", "url")
    fetcher.close()

    assert b"ok" in body
