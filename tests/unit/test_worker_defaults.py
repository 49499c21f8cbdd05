"""The defaults that an administrator gives a model: for what a request does not say, and only for that."""

from __future__ import annotations

from transports.loading import Defaults
from transports.messages import ChatMessage, ChatRequest, CompletionRequest, Sampling
from transports.settings import ModelOptions
from workers.defaults import NO_DEFAULTS, fill_in

SAID = (ChatMessage(role="user", content="hi"),)
DEFAULTS = Defaults(temperature=0.2, top_k=40, max_tokens=100)


def test_what_a_request_does_not_say_is_filled_in() -> None:
    filled = fill_in(ChatRequest(messages=SAID), DEFAULTS)

    assert filled.sampling == Sampling(temperature=0.2, top_k=40)
    assert (filled.max_tokens, filled.default_max_tokens) == (None, 100)


def test_what_a_request_says_stays_also_when_it_is_nought() -> None:
    request = ChatRequest(messages=SAID, sampling=Sampling(temperature=0.0, top_k=0), max_tokens=7)

    filled = fill_in(request, DEFAULTS)

    assert filled.sampling == request.sampling
    assert filled.max_tokens == 7


def test_they_go_before_those_of_a_frontends_api() -> None:
    request = CompletionRequest(prompt="x", default_max_tokens=16)

    assert fill_in(request, DEFAULTS).default_max_tokens == 100
    assert fill_in(request, Defaults(top_k=1)).default_max_tokens == 16


def test_without_defaults_a_request_stays_as_it_is() -> None:
    request = ChatRequest(messages=SAID)

    assert fill_in(request, NO_DEFAULTS) is request


def test_every_default_can_be_set_for_a_model() -> None:
    values = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "max_tokens": 9,
    }

    assert ModelOptions(**values).defaults() == Defaults(**values)  # type: ignore[arg-type]
    assert set(values) == set(Defaults.__struct_fields__)
