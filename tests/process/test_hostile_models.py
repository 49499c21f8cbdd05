"""Model folders that would harm: each fails with a line of its own, nothing of it runs, others serve on."""

from __future__ import annotations

import json
from pathlib import Path

from hostile_files import mutated
from running import RunningKernel, StartKernel

from transports.errors import MlxdError
from transports.messages import Done

NUM_FILES = 200
SEED = 20261125


def llama(folder: Path, weights: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)


async def end_of(kernel: RunningKernel, model: str) -> str:
    """How a request to a model ends: the reason, or the error."""
    async with kernel.ask("hello there", model=model) as submission:
        try:
            ends = [update.finish_reason async for update in submission if isinstance(update, Done)]
        except MlxdError as e:
            return e.message
    return ends[0]


async def test_two_hundred_broken_files_fail_and_an_echo_model_serves_on(
    home: Path, start_kernel: StartKernel
) -> None:
    for number, weights in enumerate(mutated(SEED, NUM_FILES)):
        llama(home / f"models/hostile/n{number}", weights)
    kernel = await start_kernel()

    infos = [model for model in await kernel.client.models() if model.name.startswith("hostile/")]
    ends = [await end_of(kernel, info.name) for info in infos[::10]]

    assert len(infos) == NUM_FILES
    assert [info.name for info in infos if not info.error.startswith("model.safetensors: ")] == [], SEED
    assert [end for end in ends if "model.safetensors: " not in end] == []
    assert await end_of(kernel, "echo/plain") == "stop"
    assert [worker.model for worker in (await kernel.client.status()).workers] == ["echo/plain"]
