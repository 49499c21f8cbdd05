"""vscode-jsonrpc, the library of VS Code's language clients, as the editor: Content-Length framing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cli_harness import MLXD, TIMEOUT_S, environment
from node_packages import node_modules
from running import RunningKernel

CLIENT = Path(__file__).with_name("vscode_client.js")


@pytest.fixture
def modules(request: pytest.FixtureRequest) -> Path:
    """The package, installed."""
    return node_modules(CLIENT.with_name("package.json"), request)


async def test_vscode_jsonrpc_streams_cancels_and_ends(modules: Path, kernel: RunningKernel) -> None:
    done = subprocess.run(
        ["node", str(CLIENT), MLXD],
        env=environment(kernel.home, NODE_PATH=str(modules)),
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )

    assert b"" == done.stderr
    said = json.loads(done.stdout)
    assert "echo/plain" in said.pop("models")
    assert said == {
        "whole": "é 🙂 three",
        "streamed": "é 🙂 three",
        "cancelled": -32800,
        "unknown": -32601,
        "exit": 0,
    }
