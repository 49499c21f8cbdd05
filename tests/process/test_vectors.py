"""Embeddings and rerank through a real kernel, with a model that needs no library."""

from __future__ import annotations

import asyncio
import math
import os
import signal

import pytest
from running import RunningKernel

from plugins.client import Submission
from plugins.vectors import NumberRows
from transports.errors import WorkerCrashed
from transports.messages import Done
from transports.vectors import EmbeddingsRequest, RerankRequest


def embed(kernel: RunningKernel, *texts: str, model: str = "echo/plain") -> Submission:
    return kernel.client.submit(task="embeddings", model=model, body=EmbeddingsRequest(input=texts))


async def answer(submission: Submission) -> tuple[NumberRows, Done]:
    """The numbers and the end."""
    async with submission:
        updates = [update async for update in submission]
    (rows,) = [update for update in updates if isinstance(update, NumberRows)]
    end = updates[-1]
    assert isinstance(end, Done)
    return rows, end


async def test_vectors_come_in_the_order_of_their_inputs(kernel: RunningKernel) -> None:
    rows, end = await answer(embed(kernel, "one", "two three", "one"))
    (alone, _) = await answer(embed(kernel, "two three"))

    assert (3, 8) == (len(rows), rows.row_size)
    assert rows.floats(0) == rows.floats(2) != rows.floats(1)
    assert alone.floats(0) == rows.floats(1)
    assert 1 == pytest.approx(math.hypot(*rows.floats(0)), abs=1e-6)
    assert (4, 0) == (end.usage.prompt_tokens, end.usage.completion_tokens)


async def test_a_rerank_gives_a_score_for_each_document(kernel: RunningKernel) -> None:
    body = RerankRequest(query="red fish", documents=("a red fish", "a fish", "none"))

    rows, _ = await answer(kernel.client.submit(task="rerank", model="echo/plain", body=body))

    assert [[1.0], [0.5], [0.0]] == [rows.floats(i) for i in range(len(rows))]


async def test_megabytes_of_vectors_arrive_whole(kernel: RunningKernel) -> None:
    texts = [str(number) for number in range(16_384)]

    rows, _ = await answer(embed(kernel, *texts))
    (last, _) = await answer(embed(kernel, texts[-1]))

    assert 16_384 == len(rows)
    assert last.floats(0) == rows.floats(16_383)


async def test_a_cancelled_embedding_leaves_its_slot(kernel: RunningKernel) -> None:
    submission = embed(kernel, *["word"] * 1000, model="echo/narrow")
    await kernel.worker_pid_of_running("echo/narrow")

    submission.cancel()
    async with asyncio.timeout(5):
        updates = [update async for update in submission]
        rows, _ = await answer(embed(kernel, "next", model="echo/narrow"))

    (end,) = [update for update in updates if isinstance(update, Done)]
    assert "cancelled" == end.finish_reason
    assert 1 == len(rows)


async def test_a_killed_worker_ends_an_embedding_with_an_error(kernel: RunningKernel) -> None:
    submission = embed(kernel, *["word"] * 1000, model="echo/slow")
    pid = await kernel.worker_pid_of_running("echo/slow")

    os.kill(pid, signal.SIGKILL)

    async with asyncio.timeout(10):
        with pytest.raises(WorkerCrashed):
            await answer(submission)
