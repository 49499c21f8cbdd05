"""TLS by setting: the port speaks it and nothing else, and a wrong file is named."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from http_harness import NO_KEYS, chat_body, open_door

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
    settings = {"tls_cert_file": str(files["cert"]), "tls_key_file": str(files["key"])}
    async with open_door(**settings) as door:
        trust = ssl.create_default_context(cafile=str(files["cert"]))
        async with asyncio.timeout(SOON_S):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", door.port, ssl=trust, server_hostname="localhost"
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
    settings = {"tls_cert_file": str(files["cert"]), "tls_key_file": str(files["key"])}
    async with open_door(header_timeout_s=0.2, **settings) as door:
        connection = await door.raw(b"")
        async with asyncio.timeout(SOON_S):
            assert await connection.rest() == b""


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
