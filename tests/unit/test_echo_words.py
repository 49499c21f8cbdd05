"""The echo engine says back what it got, a word a step, whatever that is."""

from __future__ import annotations

import time

import pytest

from transports.messages import CompletionRequest, Delta
from workers.echo import EchoConfig, EchoEngine


@pytest.mark.parametrize(
    ("prompt", "said"), [("  a\n b ", "  a\n b"), ("\n" * 100_000, "")], ids=["words", "space"]
)
def test_space_without_a_word_is_no_word_and_takes_no_time(prompt: str, said: str) -> None:
    engine = EchoEngine(EchoConfig(model_type="echo"))
    began_s = time.process_time()

    engine.add("r", "completion", CompletionRequest(prompt=prompt), ())
    outputs = []
    while engine.has_work():
        outputs += engine.step()

    assert said == "".join(one.text for one in outputs if isinstance(one, Delta))
    # Minutes where each space is looked at as the first of a word.
    assert time.process_time() - began_s < 1
