"""Every message survives the wire, whatever its fields hold."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from message_strategies import BODIES, MESSAGE_TYPES, values_of

from transports.codec import decode_body, decode_envelope, encode
from transports.envelope import PROTOCOL_VERSION, Envelope, Message, new_id
from transports.errors import RemoteProtocolError

EVERY_BODY = [body for bodies in BODIES.values() for body in bodies]


def test_every_message_type_has_a_body() -> None:
    assert sorted(MESSAGE_TYPES) == sorted(BODIES)


@pytest.mark.parametrize("body_type", EVERY_BODY, ids=lambda cls: cls.__name__)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_body_comes_back_as_it_was(body_type: type[Message], data: st.DataObject) -> None:
    body = data.draw(values_of(body_type))

    assert decode_body(encode(body), body_type) == body


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_an_envelope_comes_back_as_it_was(data: st.DataObject) -> None:
    envelope = msgspec.structs.replace(data.draw(values_of(Envelope)), version=PROTOCOL_VERSION)

    assert decode_envelope(encode(envelope)) == envelope


@pytest.mark.parametrize("body_type", EVERY_BODY, ids=lambda cls: cls.__name__)
def test_an_unknown_field_is_ignored(body_type: type[Message]) -> None:
    """A newer peer may have added one."""
    body = msgspec.convert(_least(body_type), body_type)
    fields = msgspec.to_builtins(body) | {"field_of_the_future": {"a": [1, None]}}

    assert decode_body(msgspec.msgpack.encode(fields), body_type) == body


@pytest.mark.parametrize("body_type", EVERY_BODY, ids=lambda cls: cls.__name__)
def test_fields_with_a_default_may_be_left_out(body_type: type[Message]) -> None:
    assert decode_body(msgspec.msgpack.encode(_least(body_type)), body_type)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 3.0])
def test_a_temperature_out_of_range_is_refused(value: float) -> None:
    frame = msgspec.msgpack.encode(
        {"messages": [{"role": "user", "content": "x"}], "sampling": {"temperature": value}}
    )

    with pytest.raises(RemoteProtocolError, match="temperature"):
        decode_body(frame, BODIES["submit"][0])


@pytest.mark.parametrize("body", [{"reasoning": {"max_tokens": 2**31}}, {"max_tokens": 2**31}])
def test_no_number_of_tokens_is_beyond_all_contexts(body: dict[str, object]) -> None:
    frame = msgspec.msgpack.encode({"messages": [{"role": "user", "content": "x"}], **body})

    with pytest.raises(RemoteProtocolError, match="max_tokens"):
        decode_body(frame, BODIES["submit"][0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(value: float) -> None:
    """The kernel's timer would never, or always, fire."""
    frame = msgspec.msgpack.encode({"version": 1, "type": "submit", "timeout_s": value})

    with pytest.raises(RemoteProtocolError, match="timeout_s"):
        decode_envelope(frame)


def test_ids_are_url_safe_ascii_of_128_bits() -> None:
    one, other = new_id(), new_id()

    assert one != other
    assert len(one) == 22
    assert one.replace("-", "").replace("_", "").isalnum()


def _least(body_type: type[Message]) -> dict[str, object]:
    """The required fields alone."""
    samples: dict[str, object] = {
        "role": "worker" if body_type.__name__ == "Hello" else "user",
        "messages": [{"role": "user", "content": "x"}],
        "phase": "load",
        "input": ["x"],
        "documents": ["x"],
    }
    info = msgspec.inspect.type_info(body_type)
    required = {field.name: field.type for field in info.fields if field.required}  # type: ignore[attr-defined]
    return {name: samples.get(name, _plain(type_)) for name, type_ in required.items()}


def _plain(type_: msgspec.inspect.Type) -> object:
    match type_:
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return 1
        case msgspec.inspect.VarTupleType():
            return []
        case _:
            return "x"
