"""What the schema of a tool's arguments may be, through every API's door."""

from __future__ import annotations

from msgspec import Raw

from plugins.raw_fields import has_value
from transports.errors import RequestError
from transports.tools import MAX_JSON_CHARS

# Bytes are no fewer than the protocol's characters, and are known without decoding.
MAX_SCHEMA_BYTES = MAX_JSON_CHARS


def read_schema(schema: Raw, param: str) -> str:
    """The schema as it was sent; "" if it was not, or is null.

    Args:
        param: What the request calls it.

    Raises:
        RequestError: It is no object, or too long.
    """
    if not has_value(schema):
        return ""
    text = bytes(schema)
    if not text.startswith(b"{"):
        raise RequestError(f"{param}: expected a JSON Schema, an object", param=param)
    if len(text) > MAX_SCHEMA_BYTES:
        raise RequestError(
            f"{param}: expected at most {MAX_SCHEMA_BYTES} bytes, got {len(text)}", param=param
        )
    return text.decode()
