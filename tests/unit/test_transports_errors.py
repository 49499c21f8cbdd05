"""An error keeps its meaning across the wire."""

from __future__ import annotations

import pytest

from transports.codec import decode_body, encode
from transports.errors import BY_CODE, MlxdError, from_failed
from transports.messages import Failed


@pytest.mark.parametrize("code", BY_CODE)
def test_an_error_comes_back_as_its_own_class(code: str) -> None:
    error = BY_CODE[code]("why", param="field", retry_after_s=2.0)

    back = from_failed(decode_body(encode(error.to_failed()), Failed))

    assert type(back) is BY_CODE[code]
    assert (back.message, back.param, back.retry_after_s) == ("why", "field", 2.0)


def test_no_two_classes_share_a_code() -> None:
    classes = [MlxdError]
    for cls in classes:
        classes += [sub for sub in cls.__subclasses__() if sub.__module__ == "transports.errors"]

    assert len({cls.code for cls in classes}) == len(classes)


def test_an_unknown_code_is_a_plain_error() -> None:
    assert type(from_failed(Failed(code="of_the_future", message="why"))) is MlxdError
