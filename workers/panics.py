"""A panic of a library in Rust is an error like others. Knows no library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transports.errors import RequestError
from transports.redaction import redacted

_MAX_REASON = 200


class Panic(Exception):
    """A library panicked; the message is its own."""


@contextmanager
def panics_caught() -> Iterator[None]:
    """Within, what panics raises an Exception.

    pyo3 would have Python end the process: its class, which each library makes anew, is none.

    Raises:
        Panic: In place of that.
    """
    try:
        yield
    except BaseException as e:
        if type(e).__name__ != "PanicException":
            raise
        raise Panic(str(e)) from None


@contextmanager
def tokenizing() -> Iterator[None]:
    """Within, the model's tokenizer reads a text of a request.

    Raises:
        RequestError: It panicked.
    """
    try:
        with panics_caught():
            yield
    except Panic as e:
        reason = redacted(str(e))[:_MAX_REASON]
        raise RequestError(f"the model's tokenizer cannot read this text: {reason}") from None
