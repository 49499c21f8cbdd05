"""Typed look-ups in a GGUF file's metadata; a missing or odd entry is an error that names its key."""

from __future__ import annotations

from collections.abc import Mapping

from transports.errors import RequestError
from workers.gguf.reader import Scalar, Value


class Metadata:
    """The entries of one file; keys of the architecture are given without its prefix: ".block_count"."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values
        self.architecture = self.text("general.architecture")

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number that is not negative."""
        value = self._get(key, default)
        if isinstance(value, list) and value and all(one == value[0] for one in value):
            # One number for each layer, as some converters write it.
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._wrong(key, "a whole number", value)
        return value

    def positive(self, key: str, default: int | None = None) -> int:
        """A whole number above 0."""
        if (value := self.integer(key, default)) == 0:
            raise self._wrong(key, "a number above 0", value)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number above 0."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise self._wrong(key, "a number above 0", value)
        # float32 in the file: 1e-05 and not 9.999999747378752e-06.
        return float(f"{value:.7g}")

    def text(self, key: str, default: str | None = None) -> str:
        """A text."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "text", value)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def array(self, key: str) -> list[Scalar]:
        """A list."""
        value = self._get(key, None)
        if not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        return [value if isinstance(value, str) else str(value) for value in self.array(key)]

    def has(self, key: str) -> bool:
        """Whether the file has *key*."""
        return self._full(key) in self._values

    def _get(self, key: str, default: Value | None) -> Value:
        value = self._values.get(self._full(key), default)
        if value is None:
            raise RequestError(f"GGUF metadata: {self._full(key)} is missing")
        return value

    def _full(self, key: str) -> str:
        return self.architecture + key if key.startswith(".") else key

    def _wrong(self, key: str, expected: str, found: Value) -> RequestError:
        return RequestError(f"GGUF metadata: {self._full(key)}: expected {expected}, got {str(found)[:40]!r}")
