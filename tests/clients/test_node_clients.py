"""openai for Node and the Vercel AI SDK, as they come from npm, ask a real mlxd with echo models."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from node_packages import node_modules
from pictures import data_url, plain, png
from running import RunningKernel, add_echo_models, add_model, run_kernel

from transports.settings import HttpSettings, KernelSettings, Settings

SCRIPTS = Path(__file__).parent / "node"
TIMEOUT_S = 60

CALL = '<think>\nHm.\n</think>\n\n<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call>'
CITY = {"city": "Lima", "big": True}
ASKED = {
    "text": "echo/plain",
    "vision": "echo/eyes",
    "picture": data_url(png(plain("red", (32, 16)))),
    "calls": "echo/plain",
    "callPrompt": CALL,
    "schema": "echo/cities",
    "embedding": "echo/plain",
    "endless": "echo/single",
    "endlessPrompt": "ENDLESS",
    # In the middle of a stream: its status is 200.
    "failing": "echo/single",
    "failingPrompt": "FAIL",
}
SEEN = "32x16:dc143c-dc143c What color is it?"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningKernel]:
    """One for all, with echo models."""
    home = tmp_path_factory.mktemp("node")
    add_echo_models(home)
    add_model(home, "echo/cities", script={"city": json.dumps(CITY)}, grammars=True)
    add_model(home, "echo/single", num_slots=1, step_s=0.005, faults=True)
    settings = Settings(kernel=KernelSettings(frontends=("http",)), http=HttpSettings(port=0))
    kernel = await run_kernel(settings, home)
    yield kernel
    await kernel.end()


@pytest.fixture
def scripts(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The scripts, beside the packages that they import."""
    modules = node_modules(SCRIPTS / "package.json", request)
    folder = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, folder)
    (folder / "node_modules").symlink_to(modules)
    return folder


async def run(script: Path, kernel: RunningKernel, *arguments: str) -> Any:
    """What a script says."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(script), kernel.url, json.dumps(ASKED), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_openai_for_node(scripts: Path, kernel: RunningKernel) -> None:
    said = await run(scripts / "openai_client.mjs", kernel)

    assert said == {
        "models": True,
        "whole": ["Hello there", "stop", 2],
        "streamed": ["Hello there", 2],
        "aborted": [3, 1],
        "image": SEEN,
        "called": ["look", '{"at": "it"}', "Hm."],
        "ran": 'seen {"at": "it"}',
        "parsed": CITY,
        "embeddings": ["number", "number"],
        "errors": [
            ["NotFoundError", "model_not_found", "model"],
            ["BadRequestError", "invalid_request", "temperature"],
        ],
    }


@pytest.mark.parametrize("provider", ["compatible", "chat", "responses"])
async def test_the_vercel_ai_sdk(scripts: Path, kernel: RunningKernel, provider: str) -> None:
    said = await run(scripts / "ai_sdk.mjs", kernel, provider)

    assert said == {
        "whole": ["Hello there", "stop", 2],
        "streamed": ["Hello there", 2],
        "aborted": [True, True],
        "image": SEEN,
        "called": [{"at": "it"}, "seen it"],
        "calledStreamed": [{"at": "it"}, "seen it"],
        "object": CITY,
        "objectStreamed": CITY,
        "embeddings": ["number", "number"],
        "unknown": ["AI_APICallError", 404, True, False],
        "failing": ["failed as told"],
    }
