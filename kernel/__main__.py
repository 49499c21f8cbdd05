"""`python -P -m kernel`: started by a frontend, which tells it on stdin what to be.

Prints one line on stdout when it can be reached, then nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from random import Random

import msgspec

from kernel.broker import Broker
from kernel.catalog import Catalog
from kernel.commands import Launcher
from kernel.devices import budget_bytes, facts_of, place
from kernel.environments import Environments
from kernel.gauge import Gauge
from kernel.gpu_gauge import GpuGauge
from kernel.hub_cache import hub_folder
from kernel.isolation import LinkDirs
from kernel.jobs import Jobs
from kernel.leftovers import Children, sweep_folders
from kernel.logfiles import LogFiles, Tee
from kernel.nvidia import NO_DRIVER, find_gpu
from kernel.processes import Processes
from kernel.shared_folder import SharedFolder
from kernel.shell import Shell
from kernel.stderr import Stderr
from kernel.threads import started_threads
from kernel.view import KernelView
from kernel.worker_kinds import WorkerKinds
from transports import logs, rundir, tether
from transports.descriptors import allow_descriptors
from transports.dumps import forbid_dumps
from transports.errors import ConfigError, MlxdError
from transports.garbage import keep_what_lives
from transports.logs import get_logger
from transports.settings import Settings
from transports.version import VERSION

# A kernel whose parent is gone and whose loop does not end by itself is ended.
ORPHAN_TIMEOUT_S = 1.5
# A worker has its connection and three pipes.
DESCRIPTORS_PER_PEER = 4
SPARE_DESCRIPTORS = 256

log = get_logger()


class KernelBootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent of a kernel tells it."""

    home: str
    settings: Settings
    # Models that must be loaded before the kernel is ready.
    preload: tuple[str, ...] = ()


def main() -> int:
    """Run the kernel; the exit code."""
    try:
        bootstrap = tether.read_bootstrap(KernelBootstrap)
        home = Path(bootstrap.home)
        run_dir = rundir.create(home)
        lock = rundir.Lock(run_dir)
        files = LogFiles(home / "logs", bootstrap.settings.log.max_bytes)
        shared = SharedFolder(run_dir)
        children = Children(run_dir)
    except OSError as e:
        print(
            f"mlxd: {e.filename}: {e.strerror}; set MLXD_HOME to a folder you can write to", file=sys.stderr
        )
        return 1
    except MlxdError as e:
        print(f"mlxd: {e.message}", file=sys.stderr)
        return 1
    stderr = Stderr(sys.stderr.fileno())
    logs.configure(bootstrap.settings.log.level, bootstrap.settings.log.format, "kernel", Tee(files, stderr))
    forbid_dumps()
    allow_descriptors(bootstrap.settings.kernel.max_peers * DESCRIPTORS_PER_PEER + SPARE_DESCRIPTORS)
    try:
        children.sweep()
        return asyncio.run(_run(bootstrap, home, run_dir, files, shared, children))
    except ConfigError as e:
        print(f"mlxd: {e.message}", file=sys.stderr)
        return 1
    finally:
        shared.close()
        children.close()
        rundir.clear(run_dir)
        lock.release()
        stderr.close()
        files.close()


async def _run(
    bootstrap: KernelBootstrap,
    home: Path,
    run_dir: Path,
    files: LogFiles,
    shared: SharedFolder,
    children: Children,
) -> int:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(started_threads())
    settings = bootstrap.settings
    endpoint = f"ipc://{run_dir / 'kernel.sock'}"
    token = secrets.token_urlsafe(32)
    placed = place(WorkerKinds.installed(), settings, lambda: find_gpu(os.environ))
    kinds, gpu = placed.kinds, placed.gpu
    environments = Environments(
        home,
        kinds,
        LinkDirs(run_dir),
        locks=_locks(home, settings),
        timeout_s=settings.models.prepare_timeout_s,
    )
    catalog = Catalog(home, settings.models.paths, settings.models.hub_cache, kinds)
    view = KernelView(
        version=VERSION,
        pid=os.getpid(),
        home=str(home),
        started_s=time.monotonic(),
        shared_dir=str(shared.path),
        kinds={kind.name: facts_of(kind, settings) for kind in kinds},
        memory_budget_bytes=settings.kernel.memory_budget_bytes or budget_bytes(gpu),
    )
    broker = Broker(settings, view, token, Random(), bootstrap.preload)
    shell = Shell(
        settings,
        broker,
        endpoint,
        catalog,
        shared,
        Launcher(home, settings, environments, endpoint, run_dir, kinds, VERSION),
        Gauge(GpuGauge(gpu) if gpu and gpu.total_bytes else None),
        lambda feed: Jobs(home, settings, kinds, environments, catalog, feed),
        lambda feed: Processes(feed, files, children),
    )
    signals = itertools.count(1)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: _stop(shell, next(signals)))
    tether.die_with_parent(lambda: _orphaned(loop, shell))
    connection = rundir.Connection(endpoint=endpoint, token=token, pid=os.getpid(), version=VERSION)
    rundir.write_connection(run_dir, connection)
    print(msgspec.json.encode(connection).decode(), flush=True)
    log.info("kernel_started", version=VERSION, pid=os.getpid(), home=str(home))
    if gpu:
        log.info("gpu_found", name=gpu.name, memory_bytes=gpu.total_bytes)
    elif placed.reason not in ("", NO_DRIVER):
        log.warning("gpu_not_used", reason=placed.reason)
    sweeping = asyncio.create_task(sweep_folders(home, hub_folder()))
    keep_what_lives()
    try:
        code = await shell.run()
    finally:
        sweeping.cancel()
        await asyncio.wait([sweeping])
    log.info("kernel_ended", code=code)
    return code


def _locks(home: Path, settings: Settings) -> dict[str, Path]:
    """The lock files of single models."""
    options = settings.models.options
    return {
        name: home / Path(one.requirements).expanduser() for name, one in options.items() if one.requirements
    }


def _stop(shell: Shell, num_signals: int) -> None:
    """The first drains, the second ends everything, the third leaves that to the children's tethers."""
    if num_signals > 2:
        os._exit(1)
    shell.stop()


def _orphaned(loop: asyncio.AbstractEventLoop, shell: Shell) -> None:
    """The parent is gone: end everything at once; from the tether's thread."""
    timer = threading.Timer(ORPHAN_TIMEOUT_S, os._exit, (1,))
    timer.daemon = True
    timer.start()
    # The loop may have ended by itself just now.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(lambda: shell.stop(now=True))


if __name__ == "__main__":
    sys.exit(main())
