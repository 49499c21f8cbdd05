"""vscode-jsonrpc, the library of VS Code's language clients, as the editor: Content-Length framing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_harness import MLXD, TIMEOUT_S, environment
from running import RunningKernel

CLIENT = Path(__file__).with_name("vscode_client.js")


def is_installed() -> bool:
    """Whether node is there and finds the package, such as through NODE_PATH."""
    if not shutil.which("node"):
        return False
    found = subprocess.run(
        ["node", "-e", "require('vscode-jsonrpc/node')"], capture_output=True, check=False, timeout=TIMEOUT_S
    )
    return found.returncode == 0


async def test_vscode_jsonrpc_streams_cancels_and_ends(kernel: RunningKernel) -> None:
    if not is_installed():
        pytest.skip("needs node and the npm package vscode-jsonrpc (NODE_PATH names where)")
    done = subprocess.run(
        ["node", str(CLIENT), MLXD],
        env=environment(kernel.home),
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
