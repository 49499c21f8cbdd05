"""Fields of a body that are not decoded: they stay the JSON that they came as."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Raw, field

# Their default; msgspec takes no `Raw | None`. Made anew: a JSON Schema cannot show a Raw.
NULL: Raw = field(default_factory=lambda: Raw(b"null"))

# What /openapi.json says that they are.
RawString: TypeAlias = Annotated[Raw, Meta(extra_json_schema={"type": "string"})]
RawObject: TypeAlias = Annotated[Raw, Meta(extra_json_schema={"type": ["object", "null"]})]
RawSchema: TypeAlias = Annotated[Raw, Meta(extra_json_schema={"type": ["object", "string", "null"]})]
# Of fields that are only there to be refused.
RawNull: TypeAlias = Annotated[Raw, Meta(extra_json_schema={"type": "null"})]


def has_value(field: Raw) -> bool:
    """Whether a field that is not decoded was there, and not null."""
    return bytes(field) != b"null"
