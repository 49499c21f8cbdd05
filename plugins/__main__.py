"""`python -P -m plugins KIND`: the process of one frontend, started by the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import cast

from plugins import installed
from plugins.client import KernelClient
from plugins.frontend import Build, Frontend
from plugins.stalls import watched
from transports import logs, tether
from transports.errors import MlxdError, PluginError
from transports.garbage import keep_what_lives
from transports.logs import get_logger

# A frontend without a kernel may tell its clients for so long.
ORPHAN_TIMEOUT_S = 1.0
# Python's own 5 ms are waited for several times in each answer while another thread reads a large body: p99
# of those was 15 ms, and with this is 9 (tests/benchmarks/bench_bodies.py).
SWITCH_INTERVAL_S = 0.001

log = get_logger()


def main(argv: list[str]) -> int:
    """Run a frontend until the kernel drains or goes; 2 if it cannot start."""
    try:
        bootstrap = tether.read_bootstrap(tether.PeerBootstrap)
        lose: list[Callable[[], object]] = []
        # Before the imports of a frontend, which take a while.
        tether.die_with_parent(lambda: _orphaned(lose))
        logs.configure(bootstrap.log_level, bootstrap.log_format, bootstrap.name)
        frontend = _frontend(argv[0], bootstrap)
        asyncio.run(_run(frontend, bootstrap, lose))
    except MlxdError as e:
        print(f"mlxd: {e.message}", file=sys.stderr)
        return 2
    return 0


def _frontend(kind: str, bootstrap: tether.PeerBootstrap) -> Frontend:
    """Import and build the frontend that is registered as *kind*.

    Raises:
        PluginError: There is none that the kernel can start, or it cannot be imported or built.
    """
    try:
        build = installed.load(kind)
        if installed.is_command(build):
            raise PluginError(f"frontend {kind!r}: people start it; take it out of kernel.frontends")
        frontend = cast(Build, build)(bootstrap.settings, bootstrap.media)
    except MlxdError:
        raise
    except Exception as e:
        log.exception("frontend_not_built", frontend=kind)
        raise installed.failure(kind, e) from e
    if not isinstance(frontend, Frontend):
        raise PluginError(f"frontend {kind!r}: made no frontend: a {type(frontend).__name__}")
    return frontend


async def _run(frontend: Frontend, bootstrap: tether.PeerBootstrap, lose: list[Callable[[], object]]) -> None:
    """Serve; what tells the connection that the kernel is gone is put into *lose*."""
    address = await frontend.open()
    try:
        client = await KernelClient.connect(
            bootstrap.endpoint, bootstrap.token, kind=bootstrap.kind, name=bootstrap.name, address=address
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, client.set_lost)
        lose.append(lambda: loop.call_soon_threadsafe(client.set_lost))
        log.info("frontend_started", address=address)
        keep_what_lives()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        with watched(loop):
            await frontend.serve(client)
        await client.close()
    finally:
        await frontend.close()


def _orphaned(lose: list[Callable[[], object]]) -> None:
    """The kernel is gone; from the tether's thread. Clients are told, if there can be any yet."""
    if not lose:
        os._exit(1)
    timer = threading.Timer(ORPHAN_TIMEOUT_S, os._exit, (1,))
    timer.daemon = True
    timer.start()
    # The loop may have ended by itself just now.
    with contextlib.suppress(RuntimeError):
        lose[0]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
