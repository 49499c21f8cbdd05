"""One answer a request, whatever happens to it; cancelling, batches, limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from plugins.stdio.connection import Connection, unknown_method
from plugins.stdio.jsonrpc import NULL, Notification, Request, RpcError
from transports.errors import ModelNotFound, QueueFull, SlowReader
from transports.settings import StdioSettings

MAX_REQUESTS = 4


class Editor:
    """The other side: keeps what it is told, and may stop reading."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.reads = True
        self.personality = Scripted()
        self.connection = Connection(self, self._choose, StdioSettings(max_requests=MAX_REQUESTS))

    def send(self, message: bytes) -> None:
        self.told.append(msgspec.json.decode(message))

    async def room(self, stall_timeout_s: float | None = None) -> None:
        if not self.reads:
            raise SlowReader("not reading")

    def says(self, *messages: object) -> None:
        for message in messages:
            self.connection.receive(msgspec.json.encode(message))

    def _choose(self, connection: Connection, method: str, params: Raw) -> Scripted:
        if method == "unchoosable":
            raise RpcError(-1, "no")
        self.personality.connection = connection
        return self.personality


class Scripted:
    """A personality whose answers come when the test says so."""

    exit_code = 0

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.calls: list[tuple[str, bytes]] = []
        self.answers: dict[str, asyncio.Future[object]] = {}
        self.num_closed = 0

    def call(self, request: Request) -> Awaitable[object]:
        method = request.method
        self.calls.append((method, bytes(request.params)))
        if method == "unknown":
            raise unknown_method(method)
        self.answers[method] = asyncio.get_running_loop().create_future()
        return self.answers[method]

    def notified(self, notification: Notification) -> None:
        self.calls.append((notification.method, bytes(notification.params)))
        if notification.method == "broken":
            raise ValueError("a bug")

    async def close(self) -> None:
        self.num_closed += 1


@pytest.fixture
async def editor() -> Editor:
    return Editor()


def request(id_: object, method: str = "m", **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def notification(method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


async def turn() -> None:
    """Let what is ready happen."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_request_gets_its_result(editor: Editor) -> None:
    editor.says(request(1, "m", a=2))
    editor.personality.answers["m"].set_result({"x": "y"})
    await turn()

    assert [("m", b'{"a":2}')] == editor.personality.calls
    assert [{"jsonrpc": "2.0", "id": 1, "result": {"x": "y"}}] == editor.told


@pytest.mark.parametrize(
    ("error", "code", "data_code"),
    [
        (ModelNotFound("none", param="model"), -32602, "model_not_found"),
        (QueueFull("full"), -32803, "queue_full"),
    ],
)
async def test_our_errors_carry_the_object_of_http(
    editor: Editor, error: Exception, code: int, data_code: str
) -> None:
    editor.says(request(1))
    editor.personality.answers["m"].set_exception(error)
    await turn()

    assert code == editor.told[0]["error"]["code"]
    assert data_code == editor.told[0]["error"]["data"]["code"]


async def test_a_bug_is_an_internal_error_without_its_text(editor: Editor) -> None:
    editor.says(request(1))
    editor.personality.answers["m"].set_exception(KeyError("secret"))
    await turn()

    assert -32603 == editor.told[0]["error"]["code"]
    assert "secret" not in str(editor.told)


async def test_a_result_that_cannot_be_encoded_is_an_internal_error(editor: Editor) -> None:
    editor.says(request(1))
    editor.personality.answers["m"].set_result(object())
    await turn()

    assert [-32603] == [told["error"]["code"] for told in editor.told]


@pytest.mark.parametrize("method", ["unknown", "$/unknown"])
async def test_an_unknown_method_is_an_error(editor: Editor, method: str) -> None:
    editor.says(request(1, method))

    assert [-32601] == [told["error"]["code"] for told in editor.told]


async def test_a_notification_is_never_answered(editor: Editor) -> None:
    editor.says(
        notification("known"),
        notification("broken"),
        notification("$/unknown"),
        notification("$/cancelRequest", id=[1]),
        notification("$/cancelRequest"),
        notification("unchoosable"),
    )
    await turn()

    assert [] == editor.told
    assert ["known", "broken", "unchoosable"] == [method for method, _ in editor.personality.calls]


@pytest.mark.parametrize(
    "cancel", [notification("$/cancelRequest", id="x"), notification("$/cancel_request", requestId="x")]
)
async def test_a_cancelled_request_is_answered_once(editor: Editor, cancel: object) -> None:
    editor.says(request("x"), cancel, cancel)
    await turn()
    editor.says(cancel)
    await turn()

    assert [("x", -32800)] == [(told["id"], told["error"]["code"]) for told in editor.told]
    assert editor.personality.answers["m"].cancelled()


async def test_to_cancel_what_has_ended_changes_nothing(editor: Editor) -> None:
    editor.says(request(1))
    editor.personality.answers["m"].set_result("whole")
    editor.says(notification("$/cancelRequest", id=1))
    await turn()

    assert [{"jsonrpc": "2.0", "id": 1, "result": "whole"}] == editor.told


async def test_an_id_may_be_used_again_but_not_at_once(editor: Editor) -> None:
    editor.says(request(1), request(1.0))
    editor.personality.answers["m"].set_result("first")
    await turn()
    editor.says(request(1))
    editor.personality.answers["m"].set_result("second")
    await turn()

    assert -32600 == editor.told[0]["error"]["code"]
    assert ["first", "second"] == [told["result"] for told in editor.told[1:]]


async def test_too_many_requests_at_once_are_refused(editor: Editor) -> None:
    editor.says(*[request(i) for i in range(MAX_REQUESTS + 1)])

    assert [MAX_REQUESTS] == [told["id"] for told in editor.told]
    assert "overloaded" == editor.told[0]["error"]["data"]["code"]


async def test_cancelled_requests_make_room_at_once(editor: Editor) -> None:
    """Keys that are pressed while we are busy come together, each with the end of the one before."""
    for number in range(3 * MAX_REQUESTS):
        editor.says(request(number), notification("$/cancelRequest", id=number))
    await turn()

    assert [answer["error"]["code"] for answer in editor.told] == [-32800] * (3 * MAX_REQUESTS)


async def test_a_batch_is_answered_as_one(editor: Editor) -> None:
    editor.says([request(1, "a"), notification("n"), 5, request(2, "b"), request(3, "unknown")])
    editor.personality.answers["b"].set_result("B")
    await turn()

    assert [] == editor.told

    editor.personality.answers["a"].set_result("A")
    await turn()

    (batch,) = editor.told
    assert {1: "A", 2: "B", 3: None, None: None} == {told["id"]: told.get("result") for told in batch}


async def test_a_batch_of_notifications_is_not_answered(editor: Editor) -> None:
    editor.says([notification("n"), notification("n")])
    await turn()

    assert [] == editor.told


async def test_what_begins_keeps_its_order(editor: Editor) -> None:
    """A completion must not see the text of a later keystroke."""
    editor.says(notification("change-1"), request(1, "complete"), notification("change-2"))

    assert ["change-1", "complete", "change-2"] == [method for method, _ in editor.personality.calls]


async def test_the_first_message_chooses_and_may_fail_to(editor: Editor) -> None:
    editor.says(request(1, "unchoosable"))

    assert -1 == editor.told[0]["error"]["code"]
    assert editor.connection.personality is None


async def test_what_we_ask_is_answered_by_the_editor(editor: Editor) -> None:
    asked = [asyncio.ensure_future(editor.connection.ask("window/x", {})) for _ in range(2)]
    await turn()
    first, second = (told["id"] for told in editor.told)
    editor.says(
        {"jsonrpc": "2.0", "id": second, "error": {"code": 1, "message": "no"}},
        {"jsonrpc": "2.0", "id": first, "result": [1]},
        {"jsonrpc": "2.0", "id": first, "result": [2]},
        {"jsonrpc": "2.0", "id": "never asked", "result": 0},
    )

    assert b"[1]" == bytes(await asked[0])
    with pytest.raises(RpcError):
        await asked[1]


async def test_a_stream_that_nobody_reads_fails(editor: Editor) -> None:
    await editor.connection.stream("m", {})
    editor.reads = False

    with pytest.raises(SlowReader):
        await editor.connection.stream("m", {})
    assert 1 == len(editor.told)


async def test_closing_cancels_and_answers_all(editor: Editor) -> None:
    editor.says(request(1, "a"), request(2, "b"))
    await editor.connection.close()

    assert {(1, -32800), (2, -32800)} == {(told["id"], told["error"]["code"]) for told in editor.told}
    assert 1 == editor.personality.num_closed


async def test_settling_waits_for_what_ends_by_itself(editor: Editor) -> None:
    editor.says(request(1, "a"), request(2, "b"))
    asyncio.get_running_loop().call_soon(editor.personality.answers["a"].set_result, NULL)
    await editor.connection.settle(0.01)
    await editor.connection.close()

    assert {1: None, 2: -32800} == {told["id"]: told.get("error", {}).get("code") for told in editor.told}
