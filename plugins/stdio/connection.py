"""One editor: its requests become answers of a personality, each exactly one. Knows no file descriptors."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol, TypeAlias

from msgspec import DecodeError, Raw, Struct, json

from plugins.openai.errors import error_object
from plugins.stdio import jsonrpc
from plugins.stdio.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NULL,
    REQUEST_CANCELLED,
    REQUEST_FAILED,
    Invalid,
    Key,
    Message,
    Notification,
    Request,
    Response,
    RpcError,
)
from plugins.stdio.personality import Personality
from transports.errors import CapacityError, MlxdError, RequestError
from transports.settings import StdioSettings

# Where an answer goes: out, or to the others of its batch.
Reply: TypeAlias = Callable[[bytes], None]
# From the first message to who answers it and all later ones.
Choose: TypeAlias = "Callable[[Connection, str, Raw], Personality]"


class Outlet(Protocol):
    """Where messages go out, in their order."""

    def send(self, message: bytes) -> None:
        """Write one message; it is kept until it is taken."""
        ...

    async def room(self, stall_timeout_s: float | None = None) -> None:
        """Wait while much is unread.

        Raises:
            SlowReader: Nothing was taken for *stall_timeout_s*.
        """
        ...


class _Cancelled(Struct, frozen=True):
    """Params of LSP's $/cancelRequest."""

    id: Key


class _AcpCancelled(Struct, frozen=True, rename="camel"):
    """Params of ACP's $/cancel_request."""

    request_id: Key


class Connection:
    """Reads messages, keeps track of requests, writes answers. Belongs to the event loop.

    Args:
        outlet: Takes the messages to the editor.
        choose: Called with the first message that is a request or a notification.
        settings: The section [stdio].
    """

    def __init__(self, outlet: Outlet, choose: Choose, settings: StdioSettings) -> None:
        self.personality: Personality | None = None
        # The exit code, once the editor has asked for the end.
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._outlet = outlet
        self._send = outlet.send
        self._choose = choose
        self._max_requests = settings.max_requests
        self._write_timeout_s = settings.write_timeout_s
        self._running: dict[Key, asyncio.Future[object]] = {}
        self._asked: dict[Key, asyncio.Future[Raw]] = {}
        self._numbers = itertools.count(1)

    # --- what the editor says -------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take a message, or a batch of them; answers come when they are there."""
        messages = jsonrpc.read(data)
        if not isinstance(messages, list):
            self._receive(messages, self._send)
            return
        num_answers = sum(isinstance(message, Request | Invalid) for message in messages)
        batch = _Batch(num_answers, self._send)
        for message in messages:
            self._receive(message, batch.add)

    def refuse(self, error: RpcError) -> None:
        """Tell of a message that could not be read."""
        self._send(jsonrpc.error(NULL, error))

    def _receive(self, message: Message, reply: Reply) -> None:
        match message:
            case Invalid():
                reply(jsonrpc.error(message.id, message.error))
            case Request():
                try:
                    self._begin(message, reply)
                except Exception as e:  # noqa: BLE001 -- whatever it is, it is the answer.
                    reply(jsonrpc.error(message.id, explained(e)))
            case Notification():
                self._notified(message)
            case Response():
                self._answered(message)

    def _begin(self, request: Request, reply: Reply) -> None:
        if request.key in self._running:
            raise RpcError(INVALID_REQUEST, "id: a request with this id is still running")
        if self._num_wanted() >= self._max_requests:
            raise CapacityError(
                f"expected at most {self._max_requests} requests at once (stdio.max_requests)"
            )
        if request.method.startswith("$/"):
            # LSP 3.17, "$ Notifications and Requests".
            raise unknown_method(request.method)
        personality = self._chosen(request.method, request.params)
        answer = asyncio.ensure_future(personality.call(request))
        self._running[request.key] = answer

        def end(ended: asyncio.Future[object]) -> None:
            del self._running[request.key]
            reply(_answer(request.id, ended))

        answer.add_done_callback(end)

    def _num_wanted(self) -> int:
        """How many are in flight and not cancelled: those end with the next turn of the loop."""
        return sum(not _is_cancelled(answer) for answer in self._running.values())

    def _notified(self, notification: Notification) -> None:
        try:
            match notification.method:
                case "$/cancelRequest":
                    self._cancel(json.decode(notification.params, type=_Cancelled).id)
                case "$/cancel_request":
                    self._cancel(json.decode(notification.params, type=_AcpCancelled).request_id)
                case method if not method.startswith("$/"):
                    self._chosen(method, notification.params).notified(notification)
        except Exception as e:  # noqa: BLE001 -- a notification has no answer.
            explained(e)

    def _cancel(self, key: Key) -> None:
        if answer := self._running.get(key):
            answer.cancel()

    def _chosen(self, method: str, params: Raw) -> Personality:
        if self.personality is None:
            self.personality = self._choose(self, method, params)
        return self.personality

    def _answered(self, response: Response) -> None:
        asked = self._asked.pop(response.key, None)
        if asked is None or asked.done():
            return
        if response.error is None:
            asked.set_result(response.result)
        else:
            asked.set_exception(RpcError(REQUEST_FAILED, "the editor refused", response.error))

    # --- what the editor is told ----------------------------------------------------------

    def notify(self, method: str, params: object) -> None:
        """Tell the editor something; *params* is for `msgspec.json`."""
        self._send(jsonrpc.notification(method, params))

    async def stream(self, method: str, params: object) -> None:
        """Tell the editor one of many things: waits while it leaves much unread.

        Raises:
            SlowReader: It has read nothing for too long.
        """
        await self._outlet.room(self._write_timeout_s)
        self.notify(method, params)

    async def ask(self, method: str, params: object) -> Raw:
        """Ask the editor for something.

        Raises:
            RpcError: It refused; `data` is its error object.
            CapacityError: It owes too many answers already.
        """
        if len(self._asked) >= self._max_requests:
            raise CapacityError(f"the editor owes {len(self._asked)} answers")
        key = f"mlxd-{next(self._numbers)}"
        self._asked[key] = asyncio.get_running_loop().create_future()
        self._send(jsonrpc.request(key, method, params))
        try:
            return await self._asked[key]
        finally:
            self._asked.pop(key, None)

    # --- the end --------------------------------------------------------------------------

    def end(self, exit_code: int) -> None:
        """The editor wants the process to end."""
        if not self.ended.done():
            self.ended.set_result(exit_code)

    async def settle(self, timeout_s: float) -> None:
        """Let requests end by themselves for a while."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=timeout_s)

    async def close(self) -> None:
        """Cancel all requests; each is answered."""
        for asked in self._asked.values():
            asked.cancel()
        for answer in self._running.values():
            answer.cancel()
        if self._running:
            await asyncio.wait(self._running.values())
        if self.personality:
            await self.personality.close()


class _Batch:
    """Gathers the answers to a batch: they go out as one array."""

    def __init__(self, num_answers: int, send: Reply) -> None:
        self._num_answers = num_answers
        self._answers: list[bytes] = []
        self._send = send

    def add(self, answer: bytes) -> None:
        """Take one of the answers."""
        self._answers.append(answer)
        if len(self._answers) == self._num_answers:
            self._send(b"[%b]" % b",".join(self._answers))


def _is_cancelled(answer: asyncio.Future[object]) -> bool:
    return answer.cancelled() or (isinstance(answer, asyncio.Task) and answer.cancelling() > 0)


def unknown_method(method: str) -> RpcError:
    """The error of a method that is not there."""
    shown = "".join(c if c.isprintable() else "?" for c in method[:64])
    return RpcError(METHOD_NOT_FOUND, f"method: no such method: {shown}")


def explained(error: BaseException) -> RpcError:
    """What the editor is told of an error; what is a bug here goes into the log."""
    match error:
        case RpcError():
            return error
        case RequestError():
            return RpcError(INVALID_PARAMS, error.message, error_object(error))
        case MlxdError():
            return RpcError(REQUEST_FAILED, error.message, error_object(error))
        case DecodeError() | UnicodeDecodeError():
            return RpcError(INVALID_PARAMS, f"params: {error}")
    # Imported when something is wrong: it takes a third of the time to the first answer.
    from transports.logs import get_logger  # noqa: PLC0415

    get_logger().error("handler_failed", exc_info=error)
    return RpcError(INTERNAL_ERROR, "internal error; the log has more")


def _answer(id_: Raw, ended: asyncio.Future[object]) -> bytes:
    if ended.cancelled():
        return jsonrpc.error(id_, RpcError(REQUEST_CANCELLED, "the request was cancelled"))
    if error := ended.exception():
        return jsonrpc.error(id_, explained(error))
    try:
        return jsonrpc.result(id_, ended.result())
    except Exception as e:  # noqa: BLE001 -- a result that cannot be encoded is a bug, and the answer.
        return jsonrpc.error(id_, explained(e))
