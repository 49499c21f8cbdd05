"""Frame 0 of every message: all that the kernel reads of one, and what names and ids may be."""

from __future__ import annotations

import secrets
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

PROTOCOL_VERSION = 1
# Of a ZeroMQ identity, bytes.
MAX_PEER_ID = 64
# A request may wait so long, seconds: a day.
MAX_TIMEOUT_S = 86_400

MessageType = Literal[
    "hello",
    "welcome",
    "bye",
    "ping",
    "pong",
    "submit",
    "events",
    "progress",
    "failed",
    "cancel",
    "load",
    "ready",
    "unload",
    "drain",
    "admin",
    "reply",
]

RequestId: TypeAlias = Annotated[str, Meta(min_length=8, max_length=64)]
# The bytes of a ZeroMQ identity as Latin-1 text.
PeerId: TypeAlias = Annotated[str, Meta(max_length=MAX_PEER_ID)]
MAX_MODEL_NAME = 256
MAX_CLIENT = 128
MAX_FINGERPRINT = 64
# Seconds; 30 years are for ever.
MAX_KEEP_ALIVE_S = 10**9
# How long a model stays in memory without requests, seconds; below 0 is for ever.
KeepAlive: TypeAlias = Annotated[float, Meta(ge=-1, le=MAX_KEEP_ALIVE_S)]
ModelName: TypeAlias = Annotated[str, Meta(max_length=MAX_MODEL_NAME)]


def new_id() -> str:
    """A fresh 128-bit id for a request or a peer: 22 URL-safe ASCII characters."""
    return secrets.token_urlsafe(16)


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all bodies: immutable, named fields, unset fields are not sent."""


class Envelope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Frame 0 of every message, and all that the kernel reads of one."""

    version: int
    type: MessageType
    # The requests this message is about: one for submit and admin, many for events and cancel.
    ids: Annotated[tuple[RequestId, ...], Meta(max_length=1024)] = ()
    # Those of `ids` that ended with this message.
    finished: Annotated[tuple[RequestId, ...], Meta(max_length=1024)] = ()
    # The frontend's peer id: the kernel writes it on submit, the worker repeats it on the way back.
    peer: PeerId = ""
    model: ModelName = ""
    # For submit a `Task`, for admin the operation.
    task: Annotated[str, Meta(max_length=64)] = ""
    # Higher goes first; 0 is normal.
    priority: Annotated[int, Meta(ge=-1, le=1)] = 0
    # Who asked, for fairness among the clients of one frontend.
    client: Annotated[str, Meta(max_length=MAX_CLIENT)] = ""
    # Longest wait in a queue, seconds; 0 leaves it to the kernel's setting.
    timeout_s: Annotated[float, Meta(ge=0, le=MAX_TIMEOUT_S)] = 0.0
    # The same for the same request, whoever asks: a digest of all that a worker gets of it. "" hides it.
    fingerprint: Annotated[str, Meta(max_length=MAX_FINGERPRINT)] = ""
    # For submit, until another one says it; None leaves it as it is, at first to the settings.
    keep_alive_s: KeepAlive | None = None
