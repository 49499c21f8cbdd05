"""The echo engine fills in the middle with all that it got, so that tests see it."""

from __future__ import annotations

import pytest

from transports.errors import TaskNotSupported
from transports.messages import CompletionRequest, Delta
from workers.echo import EchoConfig, EchoEngine

MIDDLE = CompletionRequest(prompt="a = ", suffix="\nb")


def test_it_says_prompt_and_suffix() -> None:
    engine = EchoEngine(EchoConfig(model_type="echo"))
    engine.add("r", "completion", MIDDLE, ())

    outputs = []
    while engine.has_work():
        outputs += engine.step()

    assert "".join(one.text for one in outputs if isinstance(one, Delta)) == "a = <middle>\nb"


def test_it_may_be_a_model_that_cannot() -> None:
    engine = EchoEngine(EchoConfig(model_type="echo", fim=False))

    with pytest.raises(TaskNotSupported) as caught:
        engine.add("r", "completion", MIDDLE, ())

    assert caught.value.param == "suffix"
    assert not engine.has_work()
