"""What a handler has: the request, the kernel, the settings; and what it leaves for log and metrics."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from plugins.client import KernelClient, Submission
from plugins.http.dialect import OPENAI, Dialect
from plugins.http.events import EventStream
from plugins.http.gate import NO_BODY, BodyLimit
from plugins.http.headers import ALWAYS
from plugins.http.keyring import Keyring
from plugins.http.request_headers import client_of
from plugins.keys import Key
from plugins.media.intake import MediaIntake
from plugins.submission import not_cancelled
from plugins.submit_terms import SubmitTerms
from plugins.validation import quoted
from transports.envelope import Message
from transports.errors import KernelUnavailable, MlxdError, ModelNotFound, ShuttingDown
from transports.frames import Frame
from transports.messages import Done, Generate
from transports.reports import ModelInfo
from transports.settings import HttpSettings

# The kernel answers from memory; later than this it hangs.
KERNEL_TIMEOUT_S = 5.0
# Known models named in an error.
MAX_NAMED = 10
# Of the header X-Mlxd-Ignored.
MAX_IGNORED_NAMES = 32
MAX_NAME_CHARS = 120


@dataclass(slots=True)
class Exchange:
    """One request and its answer."""

    request: web.BaseRequest
    client: KernelClient
    settings: HttpSettings
    intake: MediaIntake
    keyring: Keyring
    # Whose request it is; None where no key is needed.
    key: Key | None = None
    dialect: Dialect = OPENAI
    # What follows the route's prefix, such as a model's id.
    rest: str = ""
    # Of the route; nothing is read where it takes no body.
    body_limit: BodyLimit = NO_BODY
    # Which of the people behind the client asks, as the request says.
    user: str = ""
    # For the log and the metrics.
    model: str = ""
    request_id: str = ""
    # Of the error that it ended in, also in the middle of a stream.
    error_code: str = ""
    # The good ends of its choices.
    ends: list[Done] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=ALWAYS.copy)
    # Set once the answer is a stream.
    stream: EventStream | None = None

    def speak(self, dialect: Dialect) -> None:
        """Answer in *dialect*, and name the request if that does so before anything else is known of it."""
        self.dialect = dialect
        if dialect.request_prefix:
            self.request_id = f"{dialect.request_prefix}{secrets.token_urlsafe(16)}"
            # Anthropic's name for it, and ours.
            self.headers |= {"request-id": self.request_id, "X-Request-Id": self.request_id}

    def begin(self, model: str, request_id: str = "") -> None:
        """The request is well-formed: take it.

        Args:
            request_id: Its name, if it has none yet.

        Raises:
            ShuttingDown: mlxd is ending.
            ModelNotFound: The key may not use this model.
        """
        if self.client.stopping.is_set():
            raise ShuttingDown("mlxd is ending and takes no new requests")
        self.check_model(model)
        self.model = model
        self.request_id = self.request_id or request_id
        self.headers["X-Request-Id"] = self.request_id

    def note_ignored(self, names: Sequence[str]) -> None:
        """Name the fields without effect in the answer's headers."""
        if names:
            self.headers["X-Mlxd-Ignored"] = ignored_header(names)

    def note_end(self, end: Done) -> Done:
        """An answer has ended well.

        Raises:
            WorkerError: It was cancelled, and not by its client.
        """
        self.ends.append(not_cancelled(end))
        return end

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models that the key may use.

        Raises:
            KernelUnavailable: The kernel does not answer.
        """
        models = await self._all_models()
        return models if self.key is None else tuple(one for one in models if self.key.may_use(one.name))

    async def hidden_models(self) -> tuple[str, ...]:
        """Names of the models that the key may not use, and is not told of.

        Raises:
            KernelUnavailable: The kernel does not answer.
        """
        if self.key is None or not self.key.models:
            return ()
        return tuple(one.name for one in await self._all_models() if not self.key.may_use(one.name))

    async def discreet(self, error: MlxdError) -> MlxdError:
        """*error*, or one in its place where the kernel's words name models that the key may not use."""
        if not self.model or self.key is None or not self.key.models:
            return error
        if not isinstance(error, ModelNotFound):
            try:
                if not any(name in error.message for name in await self.hidden_models()):
                    return error
            except KernelUnavailable:
                return error
        return type(error)(
            f"model: {quoted(self.model)!r} cannot be had; `mlxd models show` tells an administrator why",
            param="model",
            retry_after_s=error.retry_after_s,
        )

    def check_model(self, model: str) -> None:
        """Refuse a model that the key may not use, whether there is one of that name or not.

        Raises:
            ModelNotFound: It may not.
        """
        if self.key and not self.key.may_use(model):
            raise not_known(model, self.key.models)

    def submit(
        self, *, task: str, model: str, body: Message, terms: SubmitTerms, buffers: Sequence[Frame] = ()
    ) -> Submission:
        """Send a request to the kernel, as far as the key allows: the one way there for all routes.

        Raises:
            ModelNotFound: The key may not use this one.
        """
        self.check_model(model)
        if self.key:
            terms = terms._replace(priority=min(terms.priority, self.key.max_priority))
            if isinstance(body, Generate):
                # Nobody shall learn from the time of an answer what the holder of another key has asked.
                body = msgspec.structs.replace(body, cache_salt=int(self.key.digest[:8], 16))
        client = client_of(self.request.headers, self.request.remote, self.key, self.user)
        return self.client.submit(
            task=task, model=model, body=body, buffers=buffers, client=client, **terms._asdict()
        )

    def json(self, body: bytes) -> web.Response:
        """An answer of status 200."""
        return web.Response(body=body, content_type="application/json", headers=self.headers)

    async def _all_models(self) -> tuple[ModelInfo, ...]:
        try:
            async with asyncio.timeout(KERNEL_TIMEOUT_S):
                return await self.client.models()
        except TimeoutError:
            raise KernelUnavailable(f"the kernel did not answer within {KERNEL_TIMEOUT_S:g} s") from None


def not_known(model: str, known: Sequence[str]) -> ModelNotFound:
    """The error for a name that whoever asks cannot use; *known* are those that they can."""
    names = ", ".join(known[:MAX_NAMED]) or "none"
    return ModelNotFound(f"model: {quoted(model)!r} is not known; known: {names}", param="model")


def ignored_header(names: Sequence[str]) -> str:
    """The names as a header value: bounded, and free of what a header may not hold."""
    shown = ["".join(c if _is_plain(c) else "?" for c in name[:MAX_NAME_CHARS]) for name in names]
    more = [f"(and {len(shown) - MAX_IGNORED_NAMES} more)"] if len(shown) > MAX_IGNORED_NAMES else []
    return ", ".join(shown[:MAX_IGNORED_NAMES] + more)


def _is_plain(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char in "_-.[]")
