"""The OpenAI SDK asks an echo model for embeddings, through a real kernel."""

from __future__ import annotations

import math

import pytest
from openai import AsyncOpenAI
from running import RunningKernel

MODEL = "echo/plain"


async def test_the_sdks_two_encodings_are_the_same_vectors(http_kernel: RunningKernel) -> None:
    """Without being told it asks for base64, and decodes it."""
    texts = [f"text number {number}" for number in range(64)]
    async with AsyncOpenAI(base_url=f"{http_kernel.url}/v1", api_key="none", max_retries=0) as sdk:
        packed = await sdk.embeddings.create(model=MODEL, input=texts)
        floats = await sdk.embeddings.create(model=MODEL, input=texts, encoding_format="float")
        small = await sdk.embeddings.create(model=MODEL, input=[[1, 2], [3]], dimensions=4)

    assert 64 == len(packed.data)
    for one, other in zip(packed.data, floats.data, strict=True):
        assert one.index == other.index
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
    assert 1 == pytest.approx(math.hypot(*floats.data[0].embedding), abs=1e-6)
    assert 192 == packed.usage.prompt_tokens == packed.usage.total_tokens
    assert [4, 4] == [len(item.embedding) for item in small.data]
