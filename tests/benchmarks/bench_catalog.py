"""Listing 1,000 models through a running kernel: half in folders, half in the Hugging Face cache."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from support import Figure, echo_home, percentile, running_kernel, temporary_home

NUM_MODELS = 1000
COMMIT = "a" * 40
NUM_TENSORS = 300


def _weights() -> bytes:
    """A shard as of a model with some thirty layers, of a byte a tensor."""
    header = {
        f"model.layers.{i}.self_attn.q_proj.weight": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]}
        for i in range(NUM_TENSORS)
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(NUM_TENSORS)


def _write_models(home: Path, hub: Path) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    files = {f"model-0000{i}-of-00002.safetensors": _weights() for i in (1, 2)}
    files |= {"config.json": json.dumps(config).encode(), "tokenizer.json": b'{"version": "1.0"}'}
    files |= dict.fromkeys(("tokenizer_config.json", "generation_config.json", "merges.txt"), b"{}")
    for number in range(NUM_MODELS):
        if number % 2:
            folder = blobs = home / f"models/owner{number % 10}/model{number}"
        else:
            repository = hub / f"models--owner{number % 10}--model{number}"
            folder, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
            folder.mkdir(parents=True)
            (repository / "refs").mkdir()
            (repository / "refs/main").write_text(COMMIT)
        blobs.mkdir(parents=True)
        for name, content in files.items():
            (blobs / name).write_bytes(content)
            if folder != blobs:
                (folder / name).symlink_to(Path("../../blobs") / name)


async def measure(count: int) -> list[Figure]:
    """The first listing, and *count* later ones."""
    with temporary_home() as home:
        hub = home / "hub"
        os.environ["HF_HUB_CACHE"] = str(hub)
        async with running_kernel(echo_home(home)) as (_, client, _):
            await asyncio.to_thread(_write_models, home, hub)
            times_s = []
            for _ in range(count + 1):
                started_s = time.perf_counter()
                found = await client.models()
                times_s.append(time.perf_counter() - started_s)
                assert len(found) >= NUM_MODELS
        del os.environ["HF_HUB_CACHE"]
    first_s, *later_s = times_s
    return [
        Figure("first listing of 1,000 models", first_s * 1000, "ms"),
        Figure("later listings, p99", percentile(later_s, 99) * 1000, "ms", ("<=", 200)),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 50)):
        print(figure)
