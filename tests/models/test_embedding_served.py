"""all-MiniLM-L6-v2 through kernel, worker and HTTP, asked by the OpenAI SDK."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from running import DEFAULT_MODEL, EMBEDDING_MODEL, RunningKernel, run_kernel

from transports.messages import Done
from transports.settings import HttpSettings, KernelSettings, Settings
from transports.vectors import EmbeddingsRequest

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]

REFERENCE = json.loads((Path(__file__).parent / "embedding_reference.json").read_text())
TEXTS = REFERENCE["texts"]
# [CLS], a word of the vocabulary, [SEP]: a batch of the largest size in few tokens.
MANY = [[101, 2000 + number, 102] for number in range(2048)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(
    embedding_prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningKernel]:
    """One for all tests: loading takes seconds."""
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    (home / "envs").symlink_to(embedding_prepared / "envs")
    (home / "models" / "demo").symlink_to(embedding_prepared / "models" / "demo")
    settings = Settings(kernel=KernelSettings(frontends=("http",)), http=HttpSettings(port=0))
    running = await run_kernel(settings, home, (EMBEDDING_MODEL,))
    yield running
    await running.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sdk(kernel: RunningKernel) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{kernel.url}/v1", api_key="none", max_retries=0, timeout=100) as client:
        yield client


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)


async def test_similarities_are_those_of_the_reference(sdk: AsyncOpenAI) -> None:
    """Of short and long texts in one batch; the longest is cut, as sentence-transformers does unasked."""
    answer = await sdk.embeddings.create(model=EMBEDDING_MODEL, input=TEXTS, extra_body={"truncate": True})

    ours = [item.embedding for item in answer.data]
    theirs = REFERENCE["all-minilm-l6-v2"]
    for i, j in combinations(range(len(TEXTS)), 2):
        assert cosine(theirs[i], theirs[j]) == pytest.approx(cosine(ours[i], ours[j]), abs=1e-3)
    assert [1.0] * len(TEXTS) == pytest.approx([cosine(a, b) for a, b in zip(ours, theirs, strict=True)])
    assert [1.0] * len(TEXTS) == pytest.approx([math.hypot(*vector) for vector in ours])


async def test_floats_and_base64_are_the_same(sdk: AsyncOpenAI) -> None:
    packed = await sdk.embeddings.create(model=EMBEDDING_MODEL, input=TEXTS[0], encoding_format="base64")
    floats = await sdk.embeddings.create(model=EMBEDDING_MODEL, input=TEXTS[0], encoding_format="float")

    assert isinstance(packed.data[0].embedding, str)
    assert 384 == len(floats.data[0].embedding)
    assert 9 == floats.usage.prompt_tokens == packed.usage.total_tokens


async def test_a_batch_of_the_largest_size_is_answered_in_order(sdk: AsyncOpenAI) -> None:
    answer = await sdk.embeddings.create(model=EMBEDDING_MODEL, input=MANY)
    few = await sdk.embeddings.create(model=EMBEDDING_MODEL, input=[MANY[0], MANY[-1]])

    assert list(range(2048)) == [item.index for item in answer.data]
    assert 3 * 2048 == answer.usage.prompt_tokens
    for item, place in zip(few.data, (0, -1), strict=True):
        assert item.embedding == pytest.approx(answer.data[place].embedding, abs=1e-5)


async def test_a_text_that_is_too_long_is_a_400_with_the_limit(sdk: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="expected at most 256 tokens") as caught:
        await sdk.embeddings.create(model=EMBEDDING_MODEL, input=["short", "word " * 1000])

    assert ("context_length_exceeded", "input[1]") == (caught.value.code, caught.value.param)


async def test_dimensions_are_refused_by_name(sdk: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="matryoshka_dimensions") as caught:
        await sdk.embeddings.create(model=EMBEDDING_MODEL, input="a", dimensions=64)

    assert "dimensions" == caught.value.param


async def test_each_model_says_what_it_does_and_refuses_the_rest(
    sdk: AsyncOpenAI, kernel: RunningKernel
) -> None:
    """Without loading the other one: nobody waits for gigabytes to be told that."""
    tasks = {model.id: model.tasks async for model in sdk.models.list()}  # type: ignore[attr-defined]

    assert ["embeddings"] == tasks[EMBEDDING_MODEL]
    assert ["chat", "completion"] == tasks[DEFAULT_MODEL]
    with pytest.raises(openai.BadRequestError, match=f"{EMBEDDING_MODEL} does embeddings, not chat"):
        await sdk.chat.completions.create(model=EMBEDDING_MODEL, messages=[{"role": "user", "content": "a"}])
    with pytest.raises(openai.BadRequestError, match="does chat and completion, not embeddings"):
        await sdk.embeddings.create(model=DEFAULT_MODEL, input="a")
    with pytest.raises(openai.BadRequestError, match="does embeddings, not rerank"):
        body = {"model": EMBEDDING_MODEL, "query": "a", "documents": ["b"]}
        await sdk.post("/rerank", body=body, cast_to=object)
    assert 0 == await kernel.find_worker(DEFAULT_MODEL)


async def test_a_cancelled_batch_lets_the_next_one_in(kernel: RunningKernel) -> None:
    body = EmbeddingsRequest(input=tuple((101, *range(2000, 2100), 102) for _ in range(2048)))
    submission = kernel.client.submit(task="embeddings", model=EMBEDDING_MODEL, body=body)
    await kernel.worker_pid_of_running(EMBEDDING_MODEL)

    submission.cancel()
    # All of it takes a minute.
    async with asyncio.timeout(20):
        (end,) = [update async for update in submission if isinstance(update, Done)]

    assert "cancelled" == end.finish_reason


async def test_a_killed_worker_is_an_error_and_no_silence(sdk: AsyncOpenAI, kernel: RunningKernel) -> None:
    asked = asyncio.create_task(
        sdk.embeddings.create(model=EMBEDDING_MODEL, input=[[101, *range(2000, 2100), 102]] * 2048)
    )
    os.kill(await kernel.worker_pid_of_running(EMBEDDING_MODEL), signal.SIGKILL)

    async with asyncio.timeout(20):
        with pytest.raises(openai.InternalServerError, match="worker ended") as caught:
            await asked

    assert (502, "worker_crashed") == (caught.value.status_code, caught.value.code)
