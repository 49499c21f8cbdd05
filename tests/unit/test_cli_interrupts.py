"""Ctrl-C while a command is imported: it ends at once, in silence."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Ctrl-C in a place where Python drops exceptions, as in the import system's own callbacks.
PROGRAM = """
import os, signal, sys

class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        str()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            Dropping()
            print("went on")

sys.meta_path.insert(0, Finder())
from plugins.cli.main import main
sys.argv[1:-1] = ["run", "--help"]
main()
"""


@pytest.mark.parametrize("module", ["plugins.cli.commands", "plugins.cli.answer"])
def test_ctrl_c_while_a_module_is_imported_is_not_lost(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, module], capture_output=True, text=True, timeout=30, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
