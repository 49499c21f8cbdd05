"""The one place that opens a URL of a request: public addresses only, within limits of size and time.

Whether an address may be reached is decided where a socket for it is made, after the name was
resolved and for exactly the address that is then connected to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.typedefs import LooseHeaders
from yarl import URL

from plugins.media.addresses import is_public
from plugins.media.certificates import trusted
from transports.errors import InvalidImage, RequestError
from transports.settings import MediaSettings
from transports.version import VERSION

# Of all requests together; those of one are the intake's to hold.
MAX_PARALLEL = 16
# No server takes longer ones.
MAX_URL_CHARS = 8192
# No gzip: what a small answer unpacks to has no limit.
HEADERS: LooseHeaders = {
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"mlxd/{VERSION}",
}

# `socket.getaddrinfo`, or a test's answer instead of it.
Lookup = Callable[..., Sequence[tuple[Any, ...]]]


class Fetcher:
    """Fetches pictures from http and https URLs. Belongs to the event loop that built it.

    Args:
        settings: The section [media].
        lookup: Resolves names.
    """

    def __init__(self, settings: MediaSettings, lookup: Lookup = socket.getaddrinfo) -> None:
        self._settings = settings
        self._named = frozenset(host.lower() for host in settings.allowed_hosts)
        self._slots = asyncio.Semaphore(MAX_PARALLEL)
        # Not the loop's own threads: a name server that does not answer would take them all.
        self._threads = ThreadPoolExecutor(MAX_PARALLEL, thread_name_prefix="lookup")
        self._lookup = lookup
        self._trusted = trusted()

    def close(self) -> None:
        """Start no more lookups."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str, path: str) -> bytes:
        """What is at *url*.

        Args:
            url: As the client wrote it.
            path: Where it stands in the request, for errors.

        Raises:
            RequestError: It is not to be had, for whatever reason.
        """
        checked = self._checked(url, path)
        try:
            # Waiting counts, so that what others fetch cannot hold a request for ever.
            async with asyncio.timeout(self._settings.fetch_timeout_s), self._slots:
                body = await self._get(checked)
        except TimeoutError:
            body = None
        if body is None:
            raise self.refusal(path)
        return body

    def refusal(self, path: str) -> InvalidImage:
        """The one error for all that can be wrong with a URL.

        Whether a host exists, refuses us or has no picture would tell a stranger about our network.
        """
        mib = self._settings.max_file_bytes >> 20
        return InvalidImage(
            f"{path}: expected the URL of a picture on a public host, without redirects, of at most "
            f"{mib} MiB within {self._settings.fetch_timeout_s:g} s; it could not be had",
            param=path,
        )

    def _checked(self, text: str, path: str) -> URL:
        """The URL, if it is one that we would open; nothing is asked of the network for this."""
        if not self._settings.remote_images:
            raise RequestError(
                f"{path}: URLs are not fetched here (media.remote_images); send the picture as data: URL",
                param=path,
            )
        try:
            # yarl drops tabs and line ends, as browsers do; nobody sends them in good faith.
            url = URL(text) if len(text) <= MAX_URL_CHARS and text.isprintable() else None
        except ValueError:
            url = None
        if url is None or url.scheme not in ("http", "https") or not url.host:
            raise RequestError(
                f"{path}: expected a data:, http or https URL of at most {MAX_URL_CHARS} characters",
                param=path,
            )
        if url.user or url.password:
            raise RequestError(f"{path}: expected a URL without user name and password", param=path)
        return url

    async def _get(self, url: URL) -> bytes | None:
        """The body at *url*, or None."""
        is_named = url.host in self._named
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._lookup, self._threads, is_guarded=not is_named),
            socket_factory=_open if is_named else _open_public,
            ssl=self._trusted,
            use_dns_cache=False,
            force_close=True,
        )
        # One session a fetch: no cookie and no connection of one request reaches another. Without
        # trust_env there are neither proxies nor passwords from the environment.
        session = aiohttp.ClientSession(
            connector=connector,
            headers=HEADERS,
            auto_decompress=False,
            trust_env=False,
        )
        try:
            async with session, session.get(url, allow_redirects=False) as response:
                return await self._read(response) if response.status == 200 else None
        # ValueError: aiohttp on hosts that cannot be encoded.
        except (aiohttp.ClientError, OSError, ValueError):
            return None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        if (response.content_length or 0) > self._settings.max_file_bytes:
            return None
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > self._settings.max_file_bytes:
                return None
        return bytes(body)


class _Resolver(AbstractResolver):
    """Names to addresses; if one of them is not public, none is used."""

    def __init__(self, lookup: Lookup, threads: ThreadPoolExecutor, *, is_guarded: bool) -> None:
        self._lookup = lookup
        self._threads = threads
        self._is_guarded = is_guarded

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`; aiohttp does not ask for addresses, only for names."""
        look = partial(self._lookup, host, port, family=family, type=socket.SOCK_STREAM)
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        if self._is_guarded and not all(is_public(answer[4][0]) for answer in answers):
            raise OSError("not a public address")
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=family_,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family_, _, proto, _, address in answers
        ]

    async def close(self) -> None:
        """See `AbstractResolver`."""


def _open_public(info: tuple[Any, ...]) -> socket.socket:
    """A socket for an address of a lookup, or of the URL itself, that is connected to next."""
    if not is_public(info[4][0]):
        raise OSError("not a public address")
    return _open(info)


def _open(info: tuple[Any, ...]) -> socket.socket:
    family, kind, proto, *_ = info
    opened = socket.socket(family, kind, proto)
    opened.setblocking(False)
    return opened
