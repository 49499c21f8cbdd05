"""What a worker says of a field of the protocol is said of the field that the client sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from transports.errors import RequestError


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Have errors name the client's field.

    Args:
        names: A field of the protocol -> what the client calls it.
    """
    try:
        yield
    except RequestError as e:
        if e.param is None or e.param not in names:
            raise
        name = names[e.param]
        raise type(e)(e.message.replace(e.param, name, 1), param=name) from None
