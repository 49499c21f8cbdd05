"""Neovim without plugins, with the configuration of docs/examples, and the default model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from transports import rundir

NVIM = shutil.which("nvim")
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("neovim_edits.lua")
TIMEOUT_S = 90.0
CODE = 'def greet(name):\n    print("Hello, " + name)\n\ndef add(a, b):\n    return'

pytestmark = [
    pytest.mark.models,
    pytest.mark.timeout(200),
    pytest.mark.skipif(NVIM is None, reason="nvim is not installed"),
]


def test_neovim_edits_a_python_file(real_home: Path, tmp_path: Path) -> None:
    file, result = tmp_path / "code.py", tmp_path / "result.json"
    file.write_text(CODE + "\n")
    configuration = tmp_path / "init.lua"
    example = (ROOT / "docs" / "examples" / "neovim.lua").read_text()
    # A token takes the model a fifteenth of a second here.
    configuration.write_text(example.replace("maxTokens = 64", "maxTokens = 8"))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLXD_")}
    environment = kept | {
        "MLXD_HOME": str(real_home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "RESULT": str(result),
        "TIMEOUT_MS": str(int(TIMEOUT_S * 1000)),
    }
    done = subprocess.run(
        [str(NVIM), "--headless", "--clean", "-u", str(configuration), "-S", str(SCRIPT), str(file)],
        env=environment,
        capture_output=True,
        timeout=2 * TIMEOUT_S,
        check=False,
    )
    seen = json.loads(result.read_text())
    deadline = time.monotonic() + TIMEOUT_S
    # The kernel was its own, and ends with it.
    while rundir.locate(real_home).exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert (done.returncode, seen.get("error"), seen.get("shown")) == (0, None, None), done.stderr
    assert seen["completes"]
    assert (seen["progress"][0], seen["progress"][-1]) == ("begin", "end")
    (item,) = seen["completion"]["items"]
    assert item["textEdit"]["newText"].startswith("return ")
    written = file.read_text()
    assert written.startswith(CODE + item["textEdit"]["newText"].removeprefix("return"))
    assert not rundir.locate(real_home).exists()
