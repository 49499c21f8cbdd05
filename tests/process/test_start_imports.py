"""What a process must not import before it is ready: each of these is read when it is first needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

# rich: 80 ms, prometheus_client: 30 ms, psutil: 20 ms; Pillow and pypdfium2 are for the process that decodes.
LATER = {"rich", "psutil", "prometheus_client", "PIL", "pypdfium2"}


@pytest.mark.parametrize(
    "module", ["kernel.__main__", "plugins.__main__", "plugins.http.frontend", "plugins.cli.serve"]
)
def test_a_start_does_not_wait_for_what_is_needed_later(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"

    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout

    assert set() == LATER & set(imported.split())


@pytest.mark.parametrize("personality", ["acp", "lsp"])
def test_an_editor_is_answered_before_the_kernel_is_looked_for(personality: str) -> None:
    """What speaks with it takes as long to import as all that is needed for the first answer."""
    load = f"plugins.stdio.personality.load('{personality}')"
    code = f"import sys, plugins.cli.stdio, plugins.stdio.personality; {load}; print(*sys.modules)"
    later = LATER | {"zmq", "structlog", "aiohttp", "importlib.metadata", "pydantic", "plugins.client"}

    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout

    assert set() == later & set(imported.split())


def test_rich_can_be_imported_after_the_logs() -> None:
    """structlog is kept from importing it, nobody else."""
    subprocess.run([sys.executable, "-c", "import transports.logs, rich.console"], check=True)
