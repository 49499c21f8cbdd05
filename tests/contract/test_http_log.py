"""Each request is one line in the log, and no line holds what people wrote."""

from __future__ import annotations

import pytest
from http_harness import chat_body, fail, open_door, say

from transports.errors import WorkerCrashed

SECRET = "canary-of-a-prompt"


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")


def ended(output: str) -> list[str]:
    return [line for line in output.splitlines() if "request_ended" in line]


async def test_one_line_a_request(capsys):
    async with open_door() as door:
        await door.chat()
        await door.chat(n=700)
        await door.request("GET", "/nope/" + SECRET)
        door.client.script = fail(WorkerCrashed("crashed"), "a")
        await (await door.raw(door.bytes_of("POST", "/v1/chat/completions", chat_body(stream=True)))).rest()
    lines = ended(capsys.readouterr().out)

    assert len(lines) == 4
    assert all("duration_s=" in line for line in lines)
    assert "model=demo/echo" in lines[0]
    assert "status=200" in lines[0]
    assert "status=400" in lines[1]
    assert "route=none" in lines[2]
    assert [line.split("code=")[1].split()[0] for line in lines[1:]] == [
        "invalid_request",
        "not_found",
        "worker_crashed",
    ]
    assert SECRET not in lines[2]


async def test_prompts_and_answers_are_not_logged(capsys):
    messages = [{"role": "user", "content": SECRET}]
    async with open_door() as door:
        door.client.script = say(SECRET)
        for fields in ({}, {"stream": True}, {"n": 500}, {"stop": [""]}, {"temperature": SECRET}):
            await door.chat(messages=messages, user=SECRET, **fields)
        await door.complete(prompt=SECRET, suffix=SECRET)
        await door.post("/v1/completions", b"{" + SECRET.encode())

    assert SECRET not in capsys.readouterr().out
