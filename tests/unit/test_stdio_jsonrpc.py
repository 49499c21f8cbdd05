"""JSON-RPC 2.0: what is a request, a notification, a response, and what is an error with which id."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from plugins.stdio import jsonrpc
from plugins.stdio.jsonrpc import (
    INVALID_REQUEST,
    NULL,
    PARSE_ERROR,
    Invalid,
    Notification,
    Request,
    Response,
    RpcError,
    read,
)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"a"', "a"),
        ('"\\u0061"', "a"),
        ("7", 7),
        ("-3", -3),
        ("1.5", 1.5),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("null", None),
        ('""', ""),
    ],
)
def test_an_id_comes_back_as_it_was_written(text: str, key: object) -> None:
    request = read(b'{"jsonrpc":"2.0","id": %b ,"method":"m"}' % text.encode())

    assert isinstance(request, Request)
    assert key == request.key
    assert b'{"jsonrpc":"2.0","id":%b,"result":1}' % text.encode() == jsonrpc.result(request.id, 1)


@pytest.mark.parametrize("text", ["true", "[1]", "{}", "1e999"])
def test_what_is_no_id_is_answered_with_null(text: str) -> None:
    invalid = read(b'{"jsonrpc":"2.0","id":%b,"method":"m"}' % text.encode())

    assert isinstance(invalid, Invalid)
    assert (b"null", INVALID_REQUEST) == (bytes(invalid.id), invalid.error.code)


def test_without_an_id_it_is_a_notification() -> None:
    assert Notification("m", NULL) == read(b'{"jsonrpc":"2.0","method":"m"}')


@pytest.mark.parametrize(
    ("params", "kept"), [("[1, 2]", "[1, 2]"), ('{"a": 1}', '{"a": 1}'), ("null", "null")]
)
def test_params_are_not_decoded(params: str, kept: str) -> None:
    request = read(b'{"jsonrpc":"2.0","id":1,"method":"m","params":%b}' % params.encode())

    assert isinstance(request, Request)
    assert kept.encode() == bytes(request.params)


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        (r"\ud83d", "\ufffd"),
        (r"\uDE42 \ud83d\ude42", "\ufffd 🙂"),
        (r"\ud83d\ud83d\ude42", "\ufffd🙂"),
        (r"\\ud83d\ud83d\n", "\\ud83d\ufffd\n"),
    ],
)
def test_half_an_emoji_is_no_reason_to_lose_a_request(sent: str, read_as: str) -> None:
    """JSON.stringify writes what an editor got by cutting a string."""
    request = read(b'{"jsonrpc":"2.0","id":1,"method":"m","params":["%b"]}' % sent.encode())

    assert isinstance(request, Request)
    assert [read_as] == msgspec.json.decode(request.params)


def test_a_response_is_told_from_a_request() -> None:
    good = read(b'{"jsonrpc":"2.0","id":"x","result":null}')
    bad = read(b'{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":1,"message":"no"}}')

    assert isinstance(good, Response)
    assert ("x", b"null", None) == (good.key, bytes(good.result), good.error)
    assert isinstance(bad, Response)
    assert bad.error is not None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", PARSE_ERROR),
        (b"{", PARSE_ERROR),
        (b'{"jsonrpc":"2.0"} x', PARSE_ERROR),
        (b"[1,", PARSE_ERROR),
        (b"[" * 100_000, PARSE_ERROR),
        (b'{"id":' + b"[" * 100_000, PARSE_ERROR),
        (b"\xff", PARSE_ERROR),
        (b"3", INVALID_REQUEST),
        (b'"text"', INVALID_REQUEST),
        (b"[]", INVALID_REQUEST),
        (b'{"id":1,"method":"m"}', INVALID_REQUEST),
        (b'{"jsonrpc":"1.0","id":1,"method":"m"}', INVALID_REQUEST),
        (b'{"jsonrpc":2.0,"id":1,"method":"m"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":3}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":3}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","result":3}', INVALID_REQUEST),
    ],
)
def test_what_is_no_message_gets_an_error(data: bytes, code: int) -> None:
    invalid = read(data)

    assert isinstance(invalid, Invalid)
    assert code == invalid.error.code


def test_an_invalid_request_is_answered_with_its_id() -> None:
    invalid = read(b'{"jsonrpc":"1.0","id":"mine","method":"m"}')

    assert isinstance(invalid, Invalid)
    assert b'"mine"' == bytes(invalid.id)


def test_each_message_of_a_batch_stands_for_itself() -> None:
    """The example of section 7 of the specification."""
    batch = read(b'[1,{"jsonrpc":"2.0","method":"m"},{"jsonrpc":"2.0","id":1,"method":"m"},[]]')

    assert isinstance(batch, list)
    assert [Invalid, Notification, Request, Invalid] == [type(message) for message in batch]


def test_what_is_written_is_one_line() -> None:
    """Newline framing: no text may break the line."""
    messages = [
        jsonrpc.result(Raw(b"1"), {"text": "a\nb\r\u2028"}),
        jsonrpc.error(NULL, RpcError(1, "a\nb", {"x": "\n"})),
        jsonrpc.notification("m", {"x": "\n"}),
        jsonrpc.request("k", "m", ["\n"]),
    ]

    for message in messages:
        assert b"\n" not in message
        assert "2.0" == msgspec.json.decode(message)["jsonrpc"]
