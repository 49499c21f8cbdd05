"""Who may ask: Host, Origin and content type are looked at before a body is read.

A web page that a person visits can reach a local port; these checks keep it from being served
(DNS rebinding, cross-site requests). Knows nothing of keys: keyring.py does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from aiohttp import HttpVersion, HttpVersion10, HttpVersion11

from transports.errors import Forbidden, RequestError, RequestTooLarge, UnsupportedMediaType

# A name, an IPv4 address or an IPv6 one in brackets; then perhaps a port. Nothing that a URL parser could
# read in another way.
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")

# What Transfer-Encoding may be. RFC 9112, 6.1: in HTTP/1.0 the framing of such a message is faulty.
_ENCODINGS = {HttpVersion11: ("", "chunked"), HttpVersion10: ("",)}


class Gate:
    """Checks headers.

    Args:
        bound: The host that the server was told to bind.
        allowed: Further hosts: "name" at any port, or "name:port".
        origins: Of pages that are answered although they are not ours.
    """

    def __init__(self, bound: str, allowed: Iterable[str], origins: frozenset[str] = frozenset()) -> None:
        self._hosts = {"localhost", *(host.lower() for host in allowed)}
        # A browser takes 0.0.0.0 for this machine, whoever wrote the page.
        if not _is_wildcard(bound):
            self._hosts.add(bound.lower())
        self._origins = origins

    def check(self, headers: Mapping[str, str], local_address: str = "") -> str | None:
        """For every request, before its body is read.

        Args:
            local_address: The IP address of ours that the client connected to.

        Returns:
            The origin of a page that is not ours and may read the answer.

        Raises:
            Forbidden: From a host or page that we do not answer.
        """
        host = headers.get("Host", "")
        if not self._is_ours(host, local_address):
            raise Forbidden(
                "Host: expected localhost or an address of this machine; "
                "name further hosts in allowed_hosts of the section [http]"
            )
        origin = headers.get("Origin")
        if origin in self._origins:
            return origin
        if headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
            raise Forbidden("Sec-Fetch-Site: pages of other sites are not answered")
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            raise Forbidden("Origin: pages of other origins are not answered")
        return None

    def _is_ours(self, host: str, local_address: str) -> bool:
        match = _HOST.fullmatch(host)
        if not match:
            return False
        name = match["name"].lower()
        address = name.strip("[]")
        if name in self._hosts or host.lower() in self._hosts or is_loopback(address):
            return True
        # A page that has its own name resolve to us still sends that name, never our address.
        return _is_same_address(address, local_address)


def _is_same_address(address: str, other: str) -> bool:
    """Whether both are one IP address, however it is written."""
    try:
        # The interface of a link-local one stands behind %, and never in a URL.
        return ip_address(address) == ip_address(other.partition("%")[0])
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Whether *address* is an IP address of this machine's loopback; names are not looked up."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _is_wildcard(address: str) -> bool:
    try:
        return not address or ip_address(address).is_unspecified
    except ValueError:
        return False


def is_framed_clearly(version: HttpVersion, headers: Mapping[str, str]) -> bool:
    """Whether a proxy that speaks only HTTP/1.0, or knows other encodings, sees the same end of a request."""
    return headers.get("Transfer-Encoding", "").lower() in _ENCODINGS.get(version, ())


class BodyLimit(NamedTuple):
    """How large a body may be, and which setting of the section [http] says so."""

    max_bytes: int
    setting: str


NO_BODY = BodyLimit(0, "none")


def check_body_headers(headers: Mapping[str, str], content_length: int | None, limit: BodyLimit) -> None:
    """For requests with a JSON body, before it is read.

    Raises:
        UnsupportedMediaType: Not JSON, or compressed.
        RequestTooLarge: It says that it is over the limit.
    """
    # A browser sends text/plain and forms across sites without asking first.
    content_type, _, parameters = headers.get("Content-Type", "").partition(";")
    if content_type.strip().lower() != "application/json":
        raise UnsupportedMediaType(
            "Content-Type: expected application/json (curl: -H 'Content-Type: application/json')"
        )
    charset = re.search(r'charset="?([^\s;"]+)', parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("Content-Type: expected charset utf-8")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Content-Encoding: expected identity; compressed bodies are not read")
    if headers.get("Expect", "100-continue").lower() != "100-continue":
        raise RequestError("Expect: only 100-continue is understood")
    if content_length is not None:
        check_size(content_length, limit)


def check_size(num_bytes: int, limit: BodyLimit) -> None:
    """Refuse a body over the limit.

    Raises:
        RequestTooLarge: It is.
    """
    if num_bytes > limit.max_bytes:
        raise RequestTooLarge(
            f"body: expected at most {limit.max_bytes} bytes ({limit.setting} of the section [http])"
        )
