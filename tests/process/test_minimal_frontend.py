"""The example of docs/protocol.md talks to a real kernel with nothing but pyzmq and msgpack."""

from __future__ import annotations

import ast
import asyncio
import sys
from pathlib import Path

from running import RunningKernel, StartKernel

from transports import rundir

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "minimal_frontend.py"
MAX_LINES = 80


async def ask(
    kernel: RunningKernel, model: str, prompt: str, connection: Path | None = None
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the example."""
    connection = connection or rundir.locate(kernel.home) / "connection.json"
    # -I: neither our folder nor our variables reach it.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", EXAMPLE, connection, model, prompt),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_it_prints_the_answer(kernel: RunningKernel) -> None:
    code, out, err = await ask(kernel, "echo/plain", "one two  three")

    assert (code, out) == (0, "one two  three")
    assert "waiting: " in err


async def test_it_answers_pings_while_it_works(start_kernel: StartKernel) -> None:
    """For longer than a silent frontend is remembered."""
    kernel = await start_kernel(heartbeat_s=0.1, dead_after_s=0.5)
    prompt = " ".join(str(number) for number in range(150))

    code, out, _ = await ask(kernel, "echo/slow", prompt)

    assert (code, out) == (0, prompt)


async def test_it_tells_what_went_wrong(kernel: RunningKernel) -> None:
    code, out, err = await ask(kernel, "no/such", "hello")

    assert (code, out) == (1, "")
    assert err.startswith("model_not_found: ")


async def test_a_refusal_is_told(kernel: RunningKernel, tmp_path: Path) -> None:
    connection = rundir.locate(kernel.home) / "connection.json"
    wrong = tmp_path / "wrong.json"
    wrong.write_text(connection.read_text().replace(kernel.process.connection.token, "guess"))

    code, _, err = await ask(kernel, "echo/plain", "hello", wrong)

    assert code == 1
    assert "token" in err


async def test_the_kernel_forgets_it_when_it_says_bye(kernel: RunningKernel) -> None:
    await ask(kernel, "echo/plain", "hello")

    frontends = (await kernel.client.status()).frontends
    assert [frontend.kind for frontend in frontends] == ["test"]


def test_it_is_short_and_needs_nothing_of_ours() -> None:
    text = EXAMPLE.read_text()
    imports = {
        alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for alias in node.names
    }

    assert len(text.splitlines()) <= MAX_LINES
    assert imports - sys.stdlib_module_names == {"msgpack", "zmq"}
