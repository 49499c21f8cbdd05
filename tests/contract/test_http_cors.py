"""Pages of other origins: those that are named may read answers, and whatever looks like them may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from http_harness import chat_body, open_door
from hypothesis import given
from hypothesis import strategies as st

from plugins.http.cors import EXPOSED, read_origins
from plugins.http.frontend import HttpFrontend
from plugins.http.gate import Gate
from plugins.keys import Key, change_keys, digest_of
from transports.errors import ConfigError, Forbidden

CHAT = "/v1/chat/completions"
PAGE = "http://localhost:3000"
HOST = {"Host": "localhost:11440"}
ASKED = {
    "Access_Control_Request_Method": "POST",
    "Access_Control_Request_Headers": "authorization,content-type,x-stainless-os",
}


def cors_headers(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control")}


async def test_a_named_page_may_ask_and_read() -> None:
    async with open_door(allowed_origins=[PAGE]) as door:
        for body in (chat_body(), chat_body(stream=True), chat_body(n=5)):
            reply = await door.post(CHAT, body, Origin=PAGE, Sec_Fetch_Site="cross-site")
            assert reply.headers["access-control-allow-origin"] == PAGE
            assert reply.headers["access-control-expose-headers"] == EXPOSED
            assert reply.headers["vary"] == "Origin"
            assert "access-control-allow-credentials" not in reply.headers
        ours = await door.chat()

    assert cors_headers(ours.headers) == {}


async def test_its_preflight_is_answered_without_a_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    change_keys(path, lambda _: (Key(name="a", digest=digest_of("s"), created=1),))
    async with open_door(allowed_origins=[PAGE], keys_path=path) as door:
        reply = await door.request("OPTIONS", CHAT, Origin=PAGE, **ASKED)
        refused = await door.post(CHAT, chat_body(), Origin=PAGE)

    assert (reply.status, reply.body) == (204, b"")
    assert cors_headers(reply.headers) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, HEAD, POST, DELETE",
        "access-control-allow-headers": ASKED["Access_Control_Request_Headers"],
        "access-control-expose-headers": EXPOSED,
        "access-control-max-age": "600",
    }
    # The page can read why.
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, PAGE)


@pytest.mark.parametrize("origin", ["http://localhost:3001", "https://localhost:3000", "null", "*"])
async def test_the_preflight_of_another_page_is_refused_without_a_word(origin: str) -> None:
    async with open_door(allowed_origins=[PAGE]) as door:
        reply = await door.request("OPTIONS", CHAT, Origin=origin, **ASKED)

    assert (reply.status, cors_headers(reply.headers)) == (403, {})


async def test_wanted_headers_that_are_no_names_are_not_repeated() -> None:
    async with open_door(allowed_origins=[PAGE]) as door:
        asked = {**ASKED, "Access_Control_Request_Headers": "x-a;<script>"}
        reply = await door.request("OPTIONS", CHAT, Origin=PAGE, **asked)

    assert "access-control-allow-headers" not in reply.headers


@given(
    st.one_of(
        st.text(max_size=40),
        st.builds(str.__add__, st.just(PAGE), st.text(min_size=1, max_size=10)),
        st.builds(str.__add__, st.text(min_size=1, max_size=10), st.just(PAGE)),
        st.sampled_from(
            [PAGE.upper(), PAGE + "/", PAGE[:-1], "http://localhost.evil:3000", "http://localhost"]
        ),
    ).filter(lambda origin: origin not in (PAGE, "http://localhost:11440", "https://localhost:11440"))
)
def test_nothing_that_looks_like_a_named_page_is_one(origin: str) -> None:
    gate = Gate("127.0.0.1", (), read_origins([PAGE]))

    with pytest.raises(Forbidden):
        gate.check({**HOST, "Origin": origin})


@pytest.mark.parametrize(
    "origin", ["*", "null", "", "localhost:3000", PAGE + "/", PAGE + "/x", "http://*.example", "HTTP://A"]
)
def test_what_is_no_origin_cannot_be_named(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.allowed_origins: expected origins such as"):
        HttpFrontend({"allowed_origins": [origin]})


@pytest.mark.parametrize(
    "origin", [PAGE, "https://chat.example", "http://[::1]:3000", "app://obsidian.md", "tauri://localhost"]
)
def test_origins_of_browsers_and_programs_can_be_named(origin: str) -> None:
    gate = Gate("127.0.0.1", (), read_origins([origin]))

    assert gate.check({**HOST, "Origin": origin, "Sec-Fetch-Site": "cross-site"}) == origin
