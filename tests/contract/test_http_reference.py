"""/openapi.json and /docs as they are served; http_harness.py compares all other answers with the former."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from described import check
from http_harness import open_door
from jsonschema import ValidationError

# What would fetch something or run something.
FETCHING = {"script", "img", "iframe", "object", "embed", "video", "audio", "form", "base"}


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.targets: set[str] = set()
        self.ids: set[str] = set()
        self.num_open = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.targets.add(value or "")
            if name == "id":
                self.ids.add(value or "")
            assert not name.startswith("on") and name != "style"


async def test_the_document_is_served() -> None:
    async with open_door() as door:
        reply = await door.request("GET", "/openapi.json")

    assert reply.json["openapi"] == "3.1.0"
    assert "/v1/chat/completions" in reply.json["paths"]


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    async with open_door() as door:
        reply = await door.request("GET", "/docs")
    text = reply.body.decode()
    page = Page(text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)

    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert set() == FETCHING & page.tags
    outside = {target for target in page.targets if not target.startswith("#")}
    assert outside == {"/openapi.json", "data:,"}
    assert {target[1:] for target in page.targets if target.startswith("#")} <= page.ids
    policy = reply.headers["content-security-policy"]
    assert style
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


async def test_the_page_has_the_address_that_it_was_asked_at() -> None:
    async with open_door() as door:
        reply = await door.request("GET", "/docs")

        assert f"curl {door.url}/v1/chat/completions".encode() in reply.body


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/v1/chat/completions", b'{"model": 1, "messages": []}', b"{}"),
        ("/detokenize", b'{"model": "a", "tokens": []}', b'{"prompt": "", "content": "", "more": 1}'),
        ("/detokenize", b'{"model": "a", "tokens": []}', b'{"prompt": ""}'),
    ],
)
def test_what_is_not_as_described_is_noticed(path: str, body: bytes, answer: bytes) -> None:
    with pytest.raises(ValidationError):
        check("POST", path, body, 200, "application/json", answer)
