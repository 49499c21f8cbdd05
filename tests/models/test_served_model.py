"""The default model as a person uses it: through HTTP, several at once, and when its worker is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from running import DEFAULT_MODEL, RunningKernel, run_kernel

from transports.settings import HttpSettings, KernelSettings, Settings

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]

# Twenty short questions; what a small model says to them does not matter, only that it is always the same.
QUESTIONS = [
    f"{ask} {thing}."
    for ask in ("Tell me about", "Write one sentence on", "What is the opposite of", "Count the letters of")
    for thing in ("the sea", "winter", "a red apple", "bread", "the number 7")
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningKernel]:
    """One for all tests: loading takes seconds."""
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    (home / "envs").symlink_to(prepared / "envs")
    (home / "models" / "demo").symlink_to(prepared / "models" / "demo")
    settings = Settings(kernel=KernelSettings(frontends=("http",)), http=HttpSettings(port=0))
    kernel = await run_kernel(settings, home, (DEFAULT_MODEL,))
    yield kernel
    await kernel.end()


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=100)) as session:
        yield session


def _body(prompt: str, **fields: object) -> dict[str, object]:
    return {
        "model": DEFAULT_MODEL,
        "temperature": 0,
        "messages": [{"role": "user", "content": prompt}],
        **fields,
    }


async def _answer(http: aiohttp.ClientSession, url: str, prompt: str, **fields: object) -> dict[str, Any]:
    async with http.post(f"{url}/v1/chat/completions", json=_body(prompt, **fields)) as response:
        assert response.status == 200, await response.text()
        return await response.json()  # type: ignore[no-any-return]


async def _stream(http: aiohttp.ClientSession, url: str, prompt: str, **fields: object) -> str:
    """The streamed text; fails unless the stream ends as it should."""
    text, is_done = "", False
    async with http.post(f"{url}/v1/chat/completions", json=_body(prompt, stream=True, **fields)) as response:
        async for line in response.content:
            if line.startswith(b"data: [DONE]"):
                is_done = True
            elif line.startswith(b"data: "):
                event = json.loads(line[6:])
                assert "error" not in event, event
                text += event["choices"][0]["delta"].get("content") or ""
    assert is_done
    return text


async def test_the_capital_of_france_is_paris(served: RunningKernel, http: aiohttp.ClientSession) -> None:
    question = "What is the capital of France?"

    whole = await _answer(http, served.url, question)
    streamed = await _stream(http, served.url, question)

    assert "Paris" in whole["choices"][0]["message"]["content"]
    assert streamed == whole["choices"][0]["message"]["content"]
    assert whole["choices"][0]["finish_reason"] == "stop"
    usage = whole["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_message_says_at_its_start_how_long_the_prompt_is(
    served: RunningKernel, http: aiohttp.ClientSession
) -> None:
    """Anthropic's API does; there are clients that take it from nowhere else."""
    body = _body("Say hi, and nothing more.", stream=True, max_tokens=2)
    async with http.post(f"{served.url}/v1/messages", json=body) as response:
        lines = (await response.text()).split("\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    start, end = events[0]["message"]["usage"], events[-2]["usage"]

    assert start["input_tokens"] > 30
    assert start["input_tokens"] == end["input_tokens"] + end["cache_read_input_tokens"]


async def test_twenty_streams_at_once_say_what_each_says_alone(
    served: RunningKernel, http: aiohttp.ClientSession
) -> None:
    alone = [await _stream(http, served.url, question, max_tokens=5) for question in QUESTIONS]

    together = await asyncio.gather(
        *[_stream(http, served.url, question, max_tokens=5) for question in QUESTIONS]
    )

    assert list(together) == alone
    assert len(set(alone)) > 10


async def test_a_killed_worker_gives_each_stream_an_error_event_and_the_next_request_works(
    served: RunningKernel, http: aiohttp.ClientSession
) -> None:
    pid = await served.worker_pid(DEFAULT_MODEL)
    streaming = asyncio.Semaphore(0)
    failed_s: list[float] = []

    async def read_until_error() -> None:
        body = _body("Tell me a long story.", stream=True, max_tokens=400, ignore_eos=True)
        has_text = False
        async with http.post(f"{served.url}/v1/chat/completions", json=body) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                async for line in response.content:
                    if not line.startswith(b"data: "):
                        continue
                    event = json.loads(line[6:])
                    if "error" in event:
                        assert event["error"]["code"] == "worker_crashed"
                        failed_s.append(time.monotonic())
                    elif event["choices"][0]["delta"].get("content") and not has_text:
                        has_text = True
                        streaming.release()

    clients = [asyncio.create_task(read_until_error()) for _ in range(4)]
    # One that is not streaming yet would get a plain 502.
    for _ in clients:
        await streaming.acquire()
    killed_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await asyncio.gather(*clients)

    assert len(failed_s) == 4
    # Long before any heartbeat could notice; benchmarks/bench_faults.py has the exact figure.
    assert max(failed_s) - killed_s < 2
    assert "Paris" in await _stream(http, served.url, "What is the capital of France?")


async def test_a_text_becomes_tokens_and_a_text_again(
    served: RunningKernel, http: aiohttp.ClientSession
) -> None:
    async def ask(path: str, **body: object) -> dict[str, Any]:
        async with http.post(f"{served.url}/{path}", json={"model": DEFAULT_MODEL, **body}) as response:
            assert response.status == 200, await response.text()
            return await response.json()  # type: ignore[no-any-return]

    text = "Hello world, naïve 🙂 <|im_end|>"
    tokens = await ask("tokenize", content=text, with_pieces=True)
    plain = await ask("tokenize", prompt=text, return_token_strs=True)
    chat = await ask("tokenize", messages=[{"role": "user", "content": "Hi"}])
    back = await ask("detokenize", tokens=plain["tokens"])
    whole = await _answer(http, served.url, "Hi", max_tokens=1)

    assert [one["id"] for one in tokens["tokens"]] == plain["tokens"]
    assert tokens["tokens"][1]["piece"] == " world"
    assert (plain["count"], plain["max_model_len"]) == (len(plain["tokens"]), 8192)
    assert "".join(plain["token_strs"]).startswith("Hello world, ")
    assert back["content"] == back["prompt"] == text
    # What the model would get, template and all.
    assert chat["count"] == whole["usage"]["prompt_tokens"]


async def test_a_prompt_has_logprobs_as_lm_eval_asks_for_them(
    served: RunningKernel, http: aiohttp.ClientSession
) -> None:
    prompt = [504, 3575, 282, 4649, 314, 7042, 30]
    body = {"model": DEFAULT_MODEL, "prompt": [prompt, prompt[:3]], "temperature": 0, "max_tokens": 1}
    async with http.post(
        f"{served.url}/v1/completions", json=body | {"logprobs": 1, "seed": 1234, "echo": True}
    ) as response:
        assert response.status == 200, await response.text()
        choices = (await response.json())["choices"]

    for choice, asked in zip(choices, (prompt, prompt[:3]), strict=True):
        logprobs = choice["logprobs"]
        assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
        # lm-eval leaves the last one out: that of the answer's token.
        scores = logprobs["token_logprobs"][1:-1]
        assert len(scores) == len(asked) - 1
        assert all(
            score <= max(top.values())
            for score, top in zip(scores, logprobs["top_logprobs"][1:-1], strict=True)
        )
        assert "".join(logprobs["tokens"]) == choice["text"]
