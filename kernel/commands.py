"""How each process is started: command, environment, folder and bootstrap line."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kernel.actions import Spawn
from kernel.environments import Environments
from kernel.isolation import worker_environment
from kernel.worker_kinds import WorkerKinds
from transports.errors import EnvironmentFailed
from transports.settings import Settings
from transports.tether import PeerBootstrap

# In the environment whose mlx filled it: another mlx compiles others, and both go together.
CUDA_CACHE = "cuda-cache"


@dataclass(frozen=True, slots=True)
class Launch:
    """All that starting a process needs."""

    command: tuple[str | Path, ...]
    env: dict[str, str]
    cwd: Path
    bootstrap: bytes


class Launcher:
    """Knows where interpreters, loaders and settings are."""

    def __init__(
        self,
        home: Path,
        settings: Settings,
        environments: Environments,
        endpoint: str,
        run_dir: Path,
        kinds: WorkerKinds,
        version: str,
    ) -> None:
        self._home = home
        self._settings = settings
        self._environments = environments
        self._endpoint = endpoint
        self._run_dir = run_dir
        self._kinds = kinds
        self._version = version

    def launch(self, action: Spawn) -> Launch:
        """What to run for *action*.

        Raises:
            EnvironmentFailed: The kind's environment is not there.
        """
        command: tuple[str | Path, ...]
        if action.role == "frontend":
            command = (sys.executable, "-P", "-m", "plugins", action.kind)
            env = os.environ | {"MLXD_HOME": str(self._home)}
        else:
            python = self._environments.python(action.kind, action.model)
            if python is None:
                raise EnvironmentFailed(f"environment of {action.kind}: gone; `mlxd envs sync {action.kind}`")
            command = (str(python), "-P", "-m", "workers", "serve", action.kind)
            env = worker_environment(os.environ) | {
                "PYTHONPATH": str(self._environments.link_dir(action.kind))
            }
            if gpu := self._kinds[action.kind].gpu_uuid:
                env["CUDA_VISIBLE_DEVICES"] = gpu
                # Kernels that mlx compiled: by default in /tmp, where they are gone after a restart of the
                # machine and where others could have put theirs.
                env.setdefault("MLX_PTX_CACHE_DIR", str(python.parents[1] / CUDA_CACHE))
        return Launch(command, env, self._run_dir, self._bootstrap(action))

    def _bootstrap(self, action: Spawn) -> bytes:
        bootstrap = PeerBootstrap(
            endpoint=self._endpoint,
            token=action.token,
            name=action.name,
            kind=action.kind,
            mlxd_version=self._version,
            loader=self._kinds[action.kind].loader if action.role == "worker" else "",
            settings=self._settings.section(action.kind) if action.role == "frontend" else {},
            media=self._settings.media,
            log_level=self._settings.log.level,
            log_format=self._settings.log.format,
        )
        return msgspec.json.encode(bootstrap) + b"\n"
