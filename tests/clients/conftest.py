"""SDK tests use the HTTP frontend with a kernel played by the test; or real processes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI

for folder in ("contract", "process"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

from http_harness import Door, open_door  # noqa: E402 - found by the lines above


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door(sse_keepalive_s=0.05) as opened:
        yield opened


@pytest.fixture
async def sdk(door: Door) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=f"{door.url}/v1", api_key="none", max_retries=0, timeout=10, _strict_response_validation=True
    ) as client:
        yield client
