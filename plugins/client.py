"""A frontend's connection to the kernel: submit requests, read their events, administrate.

Everything a frontend does goes through here; it is also the reference for peers in other languages.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import zmq

from plugins.fingerprint import fingerprint
from plugins.submission import Submission, Update
from plugins.vectors import read_vectors
from transports import errors, pixels
from transports.codec import decode_body
from transports.envelope import MAX_CLIENT, MAX_MODEL_NAME, Message, new_id
from transports.frames import Frame, Parcel, join, parcel, split
from transports.logs import get_logger
from transports.messages import (
    Bye,
    Cancel,
    ChatRequest,
    Done,
    Events,
    Failed,
    Hello,
    Image,
    Item,
    Pong,
    Progress,
    Role,
    Welcome,
)
from transports.reports import Admin, ModelInfo, ModelsReply, StatusReply
from transports.sockets import DrainedSocket, PeerFull, open_dealer
from transports.vectors import Vectors
from transports.version import VERSION

__all__ = ["KernelClient", "Submission", "Update"]

log = get_logger()

# The kernel's answer to hello; it is a process of this machine.
WELCOME_TIMEOUT_S = 5.0
# For the bye to leave.
BYE_LINGER_MS = 200
# Frames of one message: the most that `kernel.max_frames` can be.
MAX_FRAMES = 1024

OnProgress = Callable[[Progress], None]
T = TypeVar("T", bound=Message)


class KernelClient:
    """A frontend peer of a running kernel. All methods belong to the event loop that connected."""

    def __init__(self, endpoint: str, hello: Hello) -> None:
        # Set when the kernel drains or is lost: take no new work.
        self.stopping = asyncio.Event()
        # Set when the kernel is gone: every submission has failed.
        self.lost = asyncio.Event()
        self.welcome: Welcome | None = None
        self._submissions: dict[str, Submission] = {}
        # Shared file -> the submissions that need it.
        self._shared: Counter[str] = Counter()
        self._replies: dict[str, tuple[type[Message], asyncio.Future[Message], OnProgress | None]] = {}
        self._welcomed: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._last_heard = self._loop.time()
        self._watchdog: asyncio.TimerHandle | None = None
        self._identity = new_id()
        dealer = open_dealer(zmq.Context.instance(), endpoint, self._identity)
        self._socket = DrainedSocket(dealer, self._on_frames, is_awaited=True)
        self._socket.watch_peer(self.set_lost)
        self.send(parcel("hello", hello))

    @classmethod
    async def connect(
        cls,
        endpoint: str,
        token: str,
        *,
        kind: str,
        name: str = "",
        address: str = "",
        role: Role = "frontend",
    ) -> KernelClient:
        """Say hello and wait for the kernel's welcome.

        Raises:
            KernelUnavailable: No answer in time.
            MlxdError: The kernel refused.
        """
        hello = Hello(
            role=role,
            kind=kind,
            name=name or kind,
            token=token,
            pid=os.getpid(),
            mlxd_version=VERSION,
            address=address,
        )
        client = cls(endpoint, hello)
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                client.welcome = await client._welcomed
        except TimeoutError:
            client._close()
            raise errors.KernelUnavailable(
                f"{endpoint}: the kernel did not answer: it hangs, or has cut this process off"
            ) from None
        except errors.MlxdError:
            client._close()
            raise
        client._watch(client.welcome, client._loop.time())
        return client

    def submit(
        self,
        *,
        task: str,
        model: str,
        body: Message,
        buffers: Sequence[Frame] = (),
        priority: int = 0,
        client: str = "",
        timeout_s: float = 0.0,
        keep_alive_s: float | None = None,
    ) -> Submission:
        """Send a request; its end comes through the submission, also when it cannot be sent.

        Shared files that the body names are removed when all submissions that name them have ended.
        """
        names: tuple[str, ...] = ()
        if isinstance(body, ChatRequest) and body.images:
            names = pixels.shared_names(body.images)
            self._shared.update(names)
        submission = Submission(new_id(), self._cancel, lambda: self._release(names))
        if self.lost.is_set():
            submission.put(_gone())
            return submission
        if len(model) > MAX_MODEL_NAME:
            problem = f"model: expected a name of at most {MAX_MODEL_NAME} characters, got {len(model)}"
            submission.put(errors.ModelNotFound(problem, param="model"))
            return submission
        self._submissions[submission.id] = submission
        message = parcel(
            "submit",
            body,
            buffers,
            ids=(submission.id,),
            model=model,
            task=task,
            priority=priority,
            client=client[:MAX_CLIENT],
            timeout_s=timeout_s,
            fingerprint=fingerprint(model, task, body),
            keep_alive_s=keep_alive_s,
        )
        try:
            self.send(message)
        except errors.MlxdError as e:
            self._end(submission.id, e)
        return submission

    @contextmanager
    def holding(self, images: Sequence[Image]) -> Iterator[None]:
        """Keep the shared files of *images* for submissions that name them and are yet to come."""
        names = pixels.shared_names(images)
        self._shared.update(names)
        try:
            yield
        finally:
            self._release(names)

    async def admin(
        self, operation: str, args: Admin, reply: type[T], on_progress: OnProgress | None = None
    ) -> T:
        """Ask the kernel for an operation and wait for its end.

        Raises:
            MlxdError: As the kernel says, or KernelUnavailable when it is gone.
        """
        request_id = new_id()
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        if self.lost.is_set():
            raise _gone()
        self._replies[request_id] = (reply, future, on_progress)
        try:
            self.send(parcel("admin", args, ids=(request_id,), task=operation))
            result = await future
        finally:
            self._replies.pop(request_id, None)
        if not isinstance(result, reply):
            raise errors.LocalProtocolError(f"{operation}: expected a {reply.__name__}")
        return result

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models of the catalog with their state."""
        return (await self.admin("models.list", Admin(), ModelsReply)).models

    async def status(self) -> StatusReply:
        """What runs, what waits and why."""
        return await self.admin("status", Admin(), StatusReply)

    @property
    def shared_folder(self) -> str:
        """Where this frontend may put shared files, see `transports.pixels`; "" for nowhere."""
        return pixels.shared_folder(self.welcome.shared_dir, self._identity) if self.welcome else ""

    async def close(self) -> None:
        """Say bye and disconnect; open submissions fail here and are cancelled there."""
        if not self.lost.is_set():
            self.send(parcel("bye", Bye()))
        self._close(linger_ms=BYE_LINGER_MS)

    def send(self, message: Parcel) -> None:
        """Send a message.

        Raises:
            RequestTooLarge: The kernel would close the connection on such a message.
            KernelUnavailable: The kernel does not take messages any more.
        """
        if self.lost.is_set():
            return
        if self.welcome:
            _check_size(message, self.welcome)
        try:
            self._socket.send(join(message))
        except PeerFull:
            raise errors.KernelUnavailable("the kernel does not take messages; it may hang") from None

    def _cancel(self, request_id: str) -> None:
        self.send(parcel("cancel", Cancel(), ids=(request_id,)))

    def _release(self, names: Sequence[str]) -> None:
        for name in names:
            self._shared[name] -= 1
            if not self._shared[name]:
                del self._shared[name]
                pixels.remove_shared(self.shared_folder, name)

    # --- what arrives ---------------------------------------------------------------------

    def _on_frames(self, frames: list[Frame]) -> None:
        self._last_heard = self._loop.time()
        try:
            message = split(frames, MAX_FRAMES)
        except errors.RemoteProtocolError as e:
            log.error("kernel_message_malformed", reason=e.message)
            return
        try:
            self._on_message(message)
        except errors.RemoteProtocolError as e:
            # The kernel passes bodies on unread: a worker wrote what we cannot read.
            for request_id in message.envelope.ids:
                self._cancel(request_id)
                self._end(request_id, e)

    def _on_message(self, message: Parcel) -> None:
        envelope = message.envelope
        match envelope.type:
            case "events":
                self._on_events(decode_body(message.body, Events).items, set(envelope.ids), message.buffers)
                self._end_silent(envelope.finished)
            case "progress":
                self._on_progress(envelope.ids, decode_body(message.body, Progress))
            case "failed":
                self._on_failed(envelope.ids, errors.from_failed(decode_body(message.body, Failed)))
            case "reply":
                self._on_reply(envelope.ids, message)
            case "ping":
                self.send(parcel("pong", Pong()))
            case "welcome" if not self._welcomed.done():
                self._welcomed.set_result(decode_body(message.body, Welcome))
            case "drain":
                self.stopping.set()
            case _:
                pass  # Of a later protocol version: what a peer does not know it ignores.

    def _on_failed(self, ids: Sequence[str], error: errors.MlxdError) -> None:
        if not ids and not self._welcomed.done():
            self._welcomed.set_exception(error)
        elif isinstance(error, errors.CutOff):
            log.error("kernel_cut_us_off", reason=error.message)
            self.set_lost()
        for request_id in ids:
            self._end(request_id, error)

    def _on_events(self, items: Sequence[Item], allowed: set[str], buffers: Sequence[Frame]) -> None:
        for item in items:
            # The kernel checked the envelope's ids against the sender, not the body's.
            if item.id not in allowed or item.id not in self._submissions:
                continue
            if isinstance(item, Done):
                self._end(item.id, item)
            else:
                update = read_vectors(item, buffers) if isinstance(item, Vectors) else item
                self._submissions[item.id].put(update)

    def _end_silent(self, finished: Sequence[str]) -> None:
        """End what the envelope ends and the body does not: for the kernel it is over."""
        for request_id in finished:
            if request_id in self._submissions:
                error = errors.RemoteProtocolError("the worker ended the request without saying how")
                self._end(request_id, error)

    def _on_progress(self, ids: Sequence[str], progress: Progress) -> None:
        for request_id in ids:
            if submission := self._submissions.get(request_id):
                submission.put(progress)
            elif reply := self._replies.get(request_id):
                _, _, on_progress = reply
                if on_progress:
                    on_progress(progress)

    def _on_reply(self, ids: Sequence[str], message: Parcel) -> None:
        for request_id in ids:
            if reply := self._replies.get(request_id):
                type_, future, _ = reply
                if not future.done():
                    future.set_result(decode_body(message.body, type_))

    def _end(self, request_id: str, end: Done | errors.MlxdError) -> None:
        if submission := self._submissions.pop(request_id, None):
            submission.put(end)
        elif reply := self._replies.get(request_id):
            _, future, _ = reply
            if not future.done() and isinstance(end, errors.MlxdError):
                future.set_exception(end)

    # --- the end --------------------------------------------------------------------------

    def _watch(self, welcome: Welcome, due_s: float) -> None:
        """Notice a kernel that does not ping any more."""
        now = self._loop.time()
        # As late as we are, we stood still ourselves: stopped, or asleep with the whole machine.
        self._last_heard = min(now, self._last_heard + now - due_s)
        if now - self._last_heard > welcome.dead_after_s:
            self.set_lost()
            return
        due_s = now + welcome.heartbeat_s
        self._watchdog = self._loop.call_at(due_s, self._watch, welcome, due_s)

    def set_lost(self) -> None:
        """The kernel is gone: fail what is open. Also called by the tether of a supervised frontend."""
        self._close()

    def _close(self, linger_ms: int = 0) -> None:
        if self.lost.is_set():
            return
        self.lost.set()
        self.stopping.set()
        if self._watchdog:
            self._watchdog.cancel()
        for request_id in [*self._submissions, *self._replies]:
            self._end(request_id, _gone())
        self._socket.close(linger_ms)
        # The kernel does so after a bye; one that was killed does not.
        if self.shared_folder:
            shutil.rmtree(self.shared_folder, ignore_errors=True)


def _check_size(message: Parcel, welcome: Welcome) -> None:
    # The envelope is a frame of its own.
    if len(message.frames) >= welcome.max_frames:
        raise errors.RequestTooLarge(
            f"request: expected at most {welcome.max_frames - 2} buffers, got {len(message.buffers)}"
        )
    largest = max(map(len, message.frames), default=0)
    if largest > welcome.max_frame_bytes:
        raise errors.RequestTooLarge(
            f"request: expected at most {welcome.max_frame_bytes} bytes in one piece "
            f"(kernel.max_frame_bytes), got {largest}"
        )


def _gone() -> errors.KernelUnavailable:
    return errors.KernelUnavailable("the mlxd kernel is gone; start it with `mlxd serve`")
