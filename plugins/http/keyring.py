"""Whose key a request carries: reads the key file when it has changed, compares in constant time."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from plugins.http.request_headers import key_of
from plugins.keys import Key, Stamp, digest_of, read_keys, stamp_of
from transports.buckets import Buckets
from transports.errors import ConfigError, RateLimited, Unauthorized
from transports.logs import get_logger

log = get_logger()

# A revoked key is good for so long at most. Only requests look at the file: one of them, in a thread.
LOOK_S = 0.1
# Another one than that of any file: it is read again at the next look.
UNREADABLE: Stamp = (-1, -1, -1)
EXPECTED = "Authorization: Bearer KEY, or x-api-key: KEY"


class Keyring:
    """The keys in force.

    Args:
        path: The key file; it need not exist.
        is_required: Nobody is answered without a key also while there is no file.

    Raises:
        ConfigError: The file is there, and cannot be used.
    """

    def __init__(self, path: Path, *, is_required: bool) -> None:
        self._path = path
        self._is_required = is_required
        self._stamp: Stamp | None = stamp_of(path)
        # None: whoever asks may use everything.
        self._keys = read_keys(path)
        self._looked = monotonic()
        self._looking = asyncio.Lock()
        self._buckets: Buckets[str] = Buckets()

    @property
    def is_in_force(self) -> bool:
        """Whether a key is needed, as of the last look at the file."""
        return self._is_required or self._keys is not None

    @property
    def is_empty(self) -> bool:
        """Whether there is no key."""
        return not self._keys

    async def admit(self, headers: Mapping[str, str]) -> Key | None:
        """The key of a request; None where none is needed.

        Raises:
            Unauthorized: It has none, or none of ours.
        """
        await self._look()
        if not self.is_in_force:
            return None
        secret = key_of(headers)
        if not secret:
            raise Unauthorized(f"no API key: expected {EXPECTED}; `mlxd keys new NAME` makes one")
        given = digest_of(secret)
        found: Key | None = None
        # All of them, wherever it is found: the time tells nothing.
        for key in self._keys or ():
            if hmac.compare_digest(given, key.digest):
                found = key
        if found is None:
            raise Unauthorized(
                "the API key is not known, or was revoked; `mlxd keys list` shows those that are"
            )
        return found

    def count(self, key: Key, num_requests: int = 1) -> None:
        """Count requests of a key.

        Raises:
            RateLimited: They are more than it may ask for in a minute.
        """
        limit = key.max_requests_per_minute
        for _ in range(num_requests if limit else 0):
            if wait_s := self._buckets.put(key.name, limit, monotonic()):
                raise RateLimited(
                    f"this API key is good for {limit} requests in a minute, and has had them",
                    retry_after_s=wait_s,
                )

    async def _look(self) -> None:
        if monotonic() - self._looked < LOOK_S:
            return
        async with self._looking:
            if monotonic() - self._looked < LOOK_S:
                return
            await asyncio.to_thread(self._read)
            self._looked = monotonic()

    def _read(self) -> None:
        try:
            stamp = stamp_of(self._path)
            if stamp == self._stamp:
                return
            keys = read_keys(self._path)
        except (ConfigError, OSError) as e:
            if self._stamp != UNREADABLE:
                log.error("keys_unreadable", reason=str(e))
            # Nobody rather than everybody.
            self._keys, self._stamp = (), UNREADABLE
            return
        self._keys, self._stamp = keys, stamp
        log.info("keys_changed", num_keys=len(keys or ()))
