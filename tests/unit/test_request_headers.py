"""Who asks, by headers: programs and keys are told apart, and nothing secret gets on."""

from __future__ import annotations

import pytest

from plugins.http.request_headers import client_of, terms_of
from plugins.keys import Key
from plugins.submit_terms import SubmitTerms
from transports.envelope import MAX_CLIENT
from transports.errors import RequestError

KEY = "sk-very-secret"


def test_programs_keys_and_addresses_are_different_clients() -> None:
    agent = {"User-Agent": "OpenAI/Python 2.8.1"}
    names = [
        client_of({}, "127.0.0.1", None),
        client_of({}, "::1", None),
        client_of(agent, "127.0.0.1", None),
        client_of({"User-Agent": "curl/8.5"}, "127.0.0.1", None),
        client_of({**agent, "Authorization": f"Bearer {KEY}"}, "127.0.0.1", None),
        client_of({**agent, "Authorization": "Bearer other"}, "127.0.0.1", None),
    ]

    assert len(set(names)) == len(names)
    assert names[2] == "127.0.0.1 OpenAI"


def test_a_key_is_the_same_one_wherever_it_stands_and_whatever_the_version() -> None:
    bearer = client_of({"Authorization": f"bearer  {KEY}", "User-Agent": "x/1"}, "127.0.0.1", None)

    assert bearer == client_of({"X-Api-Key": KEY, "User-Agent": "x/2"}, "127.0.0.1", None)


def test_who_has_proven_to_hold_a_key_is_one_client_everywhere() -> None:
    key = Key(name="ann", digest="0" * 64, created=0)

    names = {client_of({"User-Agent": f"program{n}/1"}, f"10.0.0.{n}", key) for n in range(3)}

    assert names == {"key ann"}


@pytest.mark.parametrize("agent", ["", "(no product)", "a" * 500, "\udcff/1", KEY])
def test_a_name_holds_no_key_and_has_its_limit(agent: str) -> None:
    name = client_of({"User-Agent": agent, "X-Api-Key": KEY + "\udcff"}, "127.0.0.1", None)

    assert len(name) < MAX_CLIENT
    assert name.isascii()
    assert KEY not in name.rpartition(" ")[2]


@pytest.mark.parametrize(("text", "priority"), [("high", 1), (" Normal ", 0), ("LOW", -1)])
def test_a_priority_is_a_word(text: str, priority: int) -> None:
    assert terms_of({"X-Priority": text}) == SubmitTerms(priority=priority)


@pytest.mark.parametrize("text", ["", "urgent", "1", "high,low", "\udcff"])
def test_another_priority_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="X-Priority: expected high, normal, low"):
        terms_of({"X-Priority": text})


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "86401", "soon", "1 s"])
def test_a_timeout_is_a_number_of_seconds_in_bounds(text: str) -> None:
    with pytest.raises(RequestError, match="X-Queue-Timeout: expected seconds"):
        terms_of({"X-Queue-Timeout": text})


def test_nothing_said_leaves_it_to_the_kernel() -> None:
    assert terms_of({}) == SubmitTerms()
    assert terms_of({"X-Queue-Timeout": "2.5"}) == SubmitTerms(timeout_s=2.5)
