"""What the HTTP frontend tells the kernel's queues, and what it makes of their refusals."""

from __future__ import annotations

import pytest
from http_harness import FakeClient, chat_body, fail, open_door

from transports.errors import MlxdError, PoisonRequest, QueueFull, QueueTimeout, RateLimited


async def test_headers_become_priority_timeout_and_client() -> None:
    async with open_door() as door:
        headers = {"X_Priority": "low", "X_Queue_Timeout": "7.5", "User_Agent": "curl/8.5"}
        reply = await door.post("/v1/chat/completions", chat_body(), **headers)

        assert reply.status == 200
        (_, sent) = door.client.submitted[0]
        assert (sent["priority"], sent["timeout_s"], sent["client"]) == (-1, 7.5, "127.0.0.1 curl")


async def test_a_completion_says_the_same_for_each_prompt() -> None:
    async with open_door() as door:
        body = {"model": "demo/echo", "prompt": ["a", "b"]}
        await door.post("/v1/completions", body, X_Priority="high")

        assert [sent["priority"] for _, sent in door.client.submitted] == [1, 1]


@pytest.mark.parametrize("header", [{"X_Priority": "urgent"}, {"X_Queue_Timeout": "0"}])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_a_wrong_header_is_a_400_that_names_it(header: dict[str, str], path: str) -> None:
    async with open_door() as door:
        reply = await door.post(path, chat_body(), **header)

        assert reply.status == 400
        assert reply.error["param"] in ("X-Priority", "X-Queue-Timeout")
        assert not door.client.submitted


async def test_a_key_does_not_leave_the_frontend() -> None:
    async with open_door() as door:
        await door.post("/v1/chat/completions", chat_body(), Authorization="Bearer sk-secret")

        assert "sk-secret" not in str(door.client.submitted)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (QueueFull("full", retry_after_s=12), 429, "12"),
        (QueueFull("full", retry_after_s=100), 429, "30"),
        (RateLimited("slowly", retry_after_s=0.2), 429, "1"),
        (QueueTimeout("late", retry_after_s=3), 503, "3"),
        (PoisonRequest("no"), 422, None),
    ],
)
async def test_refusals_have_status_code_and_retry_after(
    error: MlxdError, status: int, retry_after: str | None
) -> None:
    client = FakeClient()
    client.script = fail(error)
    async with open_door(client) as door:
        for stream in (False, True):
            reply = await door.chat(stream=stream)

            assert (reply.status, reply.error["code"]) == (status, error.code)
            assert reply.headers.get("retry-after") == retry_after
