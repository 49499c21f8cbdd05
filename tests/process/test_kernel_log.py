"""A kernel whose log nobody reads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec

from plugins.client import KernelClient
from transports import rundir
from transports.settings import KernelSettings, LogSettings, Settings

# Each name is in the line that says that its peer has left; a pipe holds 64 kB.
LONG_NAME = "n" * 10_000
NUM_PEERS = 20


async def test_a_kernel_whose_stderr_nobody_reads_goes_on_and_ends(home: Path) -> None:
    settings = Settings(kernel=KernelSettings(frontends=()), log=LogSettings(level="debug"))
    bootstrap = msgspec.json.encode({"home": str(home), "settings": settings}) + b"\n"
    pipe = subprocess.PIPE
    process = subprocess.Popen((sys.executable, "-P", "-m", "kernel"), stdin=pipe, stdout=pipe, stderr=pipe)
    with process:
        try:
            assert process.stdin and process.stdout
            process.stdin.write(bootstrap)
            process.stdin.flush()
            told = msgspec.json.decode(process.stdout.readline(), type=rundir.Connection)
            for _ in range(NUM_PEERS):
                client = await KernelClient.connect(told.endpoint, told.token, kind="test", name=LONG_NAME)
                assert (await client.status()).pid == process.pid
                await client.close()
            process.terminate()

            assert 0 == await asyncio.to_thread(process.wait, 10)
        finally:
            process.kill()
    log = (home / "logs" / "kernel.log").read_text()
    # The last one's bye may come after the signal.
    assert (NUM_PEERS - 1) * len(LONG_NAME) < len(log)
    assert "kernel_ended" in log
