"""What a handler has: the request, the kernel, the settings; and what it leaves for log and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from plugins.client import KernelClient
from plugins.http.events import EventStream
from plugins.media.intake import MediaIntake
from transports.messages import Done
from transports.settings import HttpSettings

# Of the header X-Mlxd-Ignored.
MAX_IGNORED_NAMES = 32
MAX_NAME_CHARS = 64


@dataclass(slots=True)
class Exchange:
    """One request and its answer."""

    request: web.BaseRequest
    client: KernelClient
    settings: HttpSettings
    intake: MediaIntake
    # What follows the route's prefix, such as a model's id.
    rest: str = ""
    # For the log and the metrics.
    model: str = ""
    request_id: str = ""
    # Of the error that it ended in, also in the middle of a stream.
    error_code: str = ""
    # The good ends of its choices.
    ends: list[Done] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    # Set once the answer is a stream.
    stream: EventStream | None = None

    def note_ignored(self, names: Sequence[str]) -> None:
        """Name the fields without effect in the answer's headers."""
        if names:
            self.headers["X-Mlxd-Ignored"] = ignored_header(names)

    def json(self, body: bytes) -> web.Response:
        """An answer of status 200."""
        return web.Response(body=body, content_type="application/json", headers=self.headers)


def ignored_header(names: Sequence[str]) -> str:
    """The names as a header value: bounded, and free of what a header may not hold."""
    shown = ["".join(c if _is_plain(c) else "?" for c in name[:MAX_NAME_CHARS]) for name in names]
    more = [f"(and {len(shown) - MAX_IGNORED_NAMES} more)"] if len(shown) > MAX_IGNORED_NAMES else []
    return ", ".join(shown[:MAX_IGNORED_NAMES] + more)


def _is_plain(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char in "_-.")
