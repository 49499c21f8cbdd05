"""The examples of docs/protocol.md talk to a real kernel with nothing but ZeroMQ and msgpack packages."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from node_packages import node_modules, packages
from running import RunningKernel, add_echo_models, run_kernel

from plugins.client import KernelClient
from transports import rundir
from transports.reports import Admin, DoneReply
from transports.settings import KernelSettings, Settings

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PYTHON = EXAMPLES / "minimal_frontend.py"
NODE = EXAMPLES / "minimal_frontend.mjs"
MANIFEST = EXAMPLES / "package.json"
MAX_LINES = 80

# A frontend that says nothing for a second is forgotten.
HEARTBEAT_S = 0.1
DEAD_AFTER_S = 1.0

pytestmark = pytest.mark.asyncio(loop_scope="module")

Command = tuple[str | Path, ...]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningKernel]:
    """One for all, with echo models."""
    home = tmp_path_factory.mktemp("minimal")
    add_echo_models(home)
    limits = KernelSettings(frontends=(), heartbeat_s=HEARTBEAT_S, dead_after_s=DEAD_AFTER_S)
    kernel = await run_kernel(Settings(kernel=limits), home)
    yield kernel
    await kernel.end()


@pytest.fixture(params=["python", "node"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    """How to start the example in that language."""
    if request.param == "python":
        # -I: neither our folder nor our variables reach it.
        return (sys.executable, "-I", PYTHON)
    (tmp_path / "node_modules").symlink_to(node_modules(MANIFEST, request))
    return ("node", shutil.copy(NODE, tmp_path))


@contextlib.asynccontextmanager
async def running(
    command: Command, kernel: RunningKernel, model: str, prompt: str, connection: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example, which is gone after the block."""
    connection = connection or rundir.locate(kernel.home) / "connection.json"
    process = await asyncio.create_subprocess_exec(
        *(*command, connection, model, prompt),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ask(
    command: Command, kernel: RunningKernel, model: str, prompt: str, connection: Path | None = None
) -> tuple[int | None, str, list[str]]:
    """Exit code, stdout and the lines of stderr of the example."""
    async with running(command, kernel, model, prompt, connection) as process:
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode().splitlines()


async def test_it_prints_the_answer_and_how_it_ended(command: Command, kernel: RunningKernel) -> None:
    code, out, err = await ask(command, kernel, "echo/plain", "one two  three é")

    assert (code, out, err[-1]) == (0, "one two  three é", "stop")


async def test_it_tells_what_it_waits_for(command: Command, kernel: RunningKernel) -> None:
    connection = kernel.process.connection
    client = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
    await client.admin("load", Admin(model="echo/eyes"), DoneReply)
    await client.admin("unload", Admin(model="echo/eyes"), DoneReply)
    await client.close()
    _, _, err = await ask(command, kernel, "echo/eyes", "hello")

    assert err[0].startswith("waiting: ")


async def test_it_answers_pings_while_it_works(command: Command, kernel: RunningKernel) -> None:
    """For longer than a silent frontend is remembered."""
    prompt = " ".join(str(number) for number in range(130))

    code, out, _ = await ask(command, kernel, "echo/slow", prompt)

    assert (code, out) == (0, prompt)


async def test_ctrl_c_cancels_and_the_end_comes(command: Command, kernel: RunningKernel) -> None:
    async with running(command, kernel, "echo/faulty", "ENDLESS") as process:
        assert process.stdout
        begin = await process.stdout.read(7)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()

    assert begin == b"ENDLESS"
    assert (process.returncode, err.decode().splitlines()[-1]) == (0, "cancelled")


async def test_it_tells_what_went_wrong(command: Command, kernel: RunningKernel) -> None:
    code, out, err = await ask(command, kernel, "no/such", "hello")

    assert (code, out) == (1, "")
    assert err[-1].startswith("model_not_found: ")


async def test_a_refusal_is_told(command: Command, kernel: RunningKernel, tmp_path: Path) -> None:
    connection = rundir.locate(kernel.home) / "connection.json"
    wrong = tmp_path / "wrong.json"
    wrong.write_text(connection.read_text().replace(kernel.process.connection.token, "guess"))

    code, _, err = await ask(command, kernel, "echo/plain", "hello", wrong)

    assert code == 1
    assert "token" in err[-1]


async def test_a_kernel_that_stands_still_is_noticed(command: Command, kernel: RunningKernel) -> None:
    async with running(command, kernel, "echo/faulty", "ENDLESS") as process:
        assert process.stdout
        await process.stdout.read(7)
        os.kill(kernel.pid, signal.SIGSTOP)
        try:
            _, err = await process.communicate()
        finally:
            os.kill(kernel.pid, signal.SIGCONT)

    assert (process.returncode, err.decode().splitlines()[-1]) == (1, "the kernel is gone")


async def test_the_kernel_forgets_it_when_it_says_bye(command: Command, kernel: RunningKernel) -> None:
    await ask(command, kernel, "echo/plain", "hello")

    connection = kernel.process.connection
    client = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
    frontends = (await client.status()).frontends
    await client.close()
    assert "example" not in [frontend.kind for frontend in frontends]


async def test_the_one_in_python_is_short_and_needs_nothing_of_ours() -> None:
    text = PYTHON.read_text()
    imports = {
        alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for alias in node.names
    }

    assert len(text.splitlines()) < MAX_LINES
    assert imports - sys.stdlib_module_names == {"msgpack", "zmq"}


async def test_the_one_in_javascript_is_short_and_needs_two_packages() -> None:
    text = NODE.read_text()
    imports = set(re.findall(r'^import .* from "(.*)";$', text, re.MULTILINE))

    assert len(text.splitlines()) < MAX_LINES
    assert {name for name in imports if not name.startswith("node:")} == set(packages(MANIFEST))
