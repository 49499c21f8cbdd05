"""Coding agents as npm has them mend a file; their model says what a script has. README.md has how."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from coding_agents import AGENTS, FILE_NAME, TASK, program
from running import RunningKernel, add_model, run_kernel
from scripted_models import FILE, call

from transports.settings import HttpSettings, KernelSettings, Settings

# They take seconds to start, and look around first.
TIMEOUT_S = 240

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(TIMEOUT_S + 30)]


def _needs(name: str) -> pytest.MarkDecorator:
    """Skip where *name* is not installed."""
    reason = f"{name} is not installed: tests/clients/README.md says how"
    return pytest.mark.skipif(not program(name).exists(), reason=reason)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningKernel]:
    """As it comes; each agent's model calls its tools, in its working folder."""
    home = tmp_path_factory.mktemp("home")
    for name, agent in AGENTS.items():
        file = str(_workplace(home, name) / FILE_NAME)
        tool, arguments = agent.edits(file)
        script = {agent.told_edited: "Mended."}
        first = call(tool, **arguments)
        if agent.reads:
            # The change is told for when the file is seen.
            script["return a - b"] = first
            tool, arguments = agent.reads(file)
            first = call(tool, **arguments)
        script[TASK] = f"<think>I look.</think>I look first.{first}"
        add_model(home, f"scripted/{name}", script=script)
    settings = Settings(kernel=KernelSettings(frontends=("http",)), http=HttpSettings(port=0))
    running = await run_kernel(settings, home)
    yield running
    await running.end()


@pytest.mark.parametrize("name", [pytest.param(name, marks=_needs(name)) for name in AGENTS])
async def test_an_agent_reads_a_file_edits_it_and_ends(kernel: RunningKernel, name: str) -> None:
    folder = _workplace(kernel.home, name)
    folder.mkdir(parents=True)
    file = folder / FILE_NAME
    file.write_text(FILE.replace("+", "-"))
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    files, variables = AGENTS[name].settings(kernel.url, f"scripted/{name}")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)

    process = await asyncio.create_subprocess_exec(
        program(name),
        *(*AGENTS[name].program[1:], TASK),
        cwd=folder,
        # Its home is where it works: no account, nobody's settings.
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            written = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert FILE == file.read_text(), written
    assert "Mended." in written
    assert 0 == process.returncode


def _workplace(home: Path, agent: str) -> Path:
    return home / "work" / agent
