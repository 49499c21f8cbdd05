"""What of the Agent Client Protocol, version 1, is read: the fields that matter here.

The SDK's own types are pydantic's, whose import takes longer than the whole start of this process.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Text(Struct, frozen=True, tag="text"):
    """Plain text."""

    text: str


class Image(Struct, frozen=True, tag="image", rename="camel"):
    """A picture in base64."""

    data: str
    mime_type: str


class Audio(Struct, frozen=True, tag="audio"):
    """Not taken: `initialize` says so."""


class ResourceLink(Struct, frozen=True, tag="resource_link"):
    """Something that the editor names and does not send."""

    uri: str
    name: str = ""


class Contents(Struct, frozen=True):
    """Of an embedded resource: text, or else bytes in base64."""

    uri: str
    text: str | None = None


class Resource(Struct, frozen=True, tag="resource"):
    """A file, or a part of one, with its content."""

    resource: Contents


Block: TypeAlias = Text | Image | Audio | ResourceLink | Resource


class Prompt(Struct, frozen=True, rename="camel"):
    """Params of session/prompt."""

    session_id: str
    prompt: list[Block]


class OfSession(Struct, frozen=True, rename="camel"):
    """Params of session/cancel and session/close."""

    session_id: str


class SetOption(Struct, frozen=True, rename="camel"):
    """Params of session/set_config_option; ours have texts as values."""

    session_id: str
    config_id: str
    value: str
