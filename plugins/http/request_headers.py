"""What the headers of a request say to the kernel's queues: which client asks, and how urgently.

Where no key is needed, this tells clients apart for fair turns, and for nothing else: it proves nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import TypeVar

from plugins.keys import Key
from plugins.submit_terms import SubmitTerms, parse_priority, parse_timeout_s
from transports.errors import RequestError

# New with each process: nobody can tell from a digest which key it was.
_SECRET = secrets.token_bytes(16)
DIGEST_BYTES = 6
# RFC 9110: the first product of User-Agent, without its version.
_PRODUCT = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")

T = TypeVar("T")


def client_of(headers: Mapping[str, str], remote: str | None, key: Key | None, user: str = "") -> str:
    """The client's name, such as "127.0.0.1 OpenAI key-5f0d3a9c21be": address, product, digest of its key.

    Two programs of one machine are two clients, and so are two people behind one program with keys of
    their own, or whom it tells apart as *user*. Whoever has proven to hold *key* is that one, wherever it is
    and whatever it calls itself. Holds no secret.
    """
    if key:
        return f"key {key.name}"
    parts = [remote or "unknown"]
    if product := _PRODUCT.match(headers.get("User-Agent", "")):
        parts.append(product[0])
    if secret := key_of(headers):
        parts.append(f"key-{_digest(secret)}")
    if user:
        parts.append(f"user-{_digest(user)}")
    return " ".join(parts)


def terms_of(headers: Mapping[str, str]) -> SubmitTerms:
    """What X-Priority and X-Queue-Timeout say; a key may allow less.

    Raises:
        RequestError: One of them is wrong.
    """
    return SubmitTerms(
        priority=_read(headers, "X-Priority", parse_priority, 0),
        timeout_s=_read(headers, "X-Queue-Timeout", parse_timeout_s, 0.0),
    )


def key_of(headers: Mapping[str, str]) -> str:
    """The secret that a request carries, or ""."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("X-Api-Key", "").strip()


def _digest(secret: str) -> str:
    data = secret.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES, key=_SECRET).hexdigest()


def _read(headers: Mapping[str, str], name: str, parse: Callable[[str], T], default: T) -> T:
    text = headers.get(name)
    if text is None:
        return default
    try:
        return parse(text.strip().lower())
    except ValueError as e:
        raise RequestError(f"{name}: {e}", param=name) from None
