"""Which frontends and worker kinds distributions brought, and whether they can be used. Imports none."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.worker_kinds import WorkerKinds
from transports.registrations import FRONTENDS, Registration, registrations
from transports.reports import EnvironmentInfo, PluginInfo

# States of an environment that serves its kind, or shall.
IN_USE = ("ready", "missing", "broken", "building")


def list_plugins(kinds: WorkerKinds, environments: Sequence[EnvironmentInfo]) -> tuple[PluginInfo, ...]:
    """All of them; reads metadata: call it in a thread.

    Args:
        kinds: As they were when the kernel started.
        environments: From `Environments.list`.
    """
    present = {one.kind: one for one in environments if one.state in IN_USE}
    frontends = [_info(one, "frontend") for one in registrations(FRONTENDS)]
    workers = [_info(kind.registration, "worker", present.get(kind.name)) for kind in kinds]
    return (*frontends, *workers, *(_info(one, "worker") for one in kinds.broken))


def _info(one: Registration, role: str, environment: EnvironmentInfo | None = None) -> PluginInfo:
    state, error = "broken" if one.error else "installed", one.error
    if environment is not None:
        state, error = environment.state, environment.error
    return PluginInfo(
        name=one.name,
        role="worker" if role == "worker" else "frontend",
        distribution=one.distribution,
        version=one.version,
        state=state,
        error=error,
    )
