"""What was estimated from the files of a model is no less than what its worker really takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from running import DEFAULT_MODEL, VISION_MODEL, StartKernel

from kernel.demos import DEMOS
from kernel.model_folder import inspect_folder, list_files
from kernel.worker_kinds import WorkerKinds
from transports.reports import Admin, ModelReport

pytestmark = pytest.mark.models

NUM_REQUESTS = 16


def test_what_is_said_of_a_model_before_it_is_fetched_is_so(smollm2: Path) -> None:
    found = inspect_folder(smollm2, list_files(smollm2), WorkerKinds.installed().declarations)

    assert DEMOS[DEFAULT_MODEL].sizes == found.sizes


@pytest.mark.parametrize("model", [DEFAULT_MODEL, VISION_MODEL])
async def test_a_worker_takes_no_more_than_estimated(
    model: str, real_home: Path, vision_prepared: Path, start_kernel: StartKernel
) -> None:
    kernel = await start_kernel()

    await asyncio.gather(
        *(
            kernel.say(f"Count from {i} to a thousand.", model=model, max_tokens=8)
            for i in range(NUM_REQUESTS)
        )
    )
    await kernel.client.status()
    report = await kernel.client.admin("models.show", Admin(model=model), ModelReport)

    assert report.estimate is not None
    # Nearly all of it are its weights, and so it is not far below either.
    assert report.estimate.weights_bytes < report.memory_bytes < report.estimate.total_bytes
    without_keys = report.estimate.total_bytes - report.estimate.kv_bytes - report.estimate.images_bytes
    assert report.memory_bytes < without_keys + 256 * 1024 * 1024
