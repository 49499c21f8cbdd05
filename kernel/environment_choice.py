"""Which environment serves a kind or a model: that of the kind's lock, of the model's own, or an earlier one.

Which of a kind's locks counts, that for CPUs or that for CUDA, `devices.py` has said before. Here are only
names, files and what an administrator chose; building and testing is `environments.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kernel.environment_build import LOCK_COPY, MARKER, environment_name
from kernel.worker_kinds import WorkerKinds
from transports.errors import EnvironmentFailed, NotFound

# Below envs/: which kinds were rolled back.
ROLLED_BACK = "rolled-back.json"


@dataclass(frozen=True, slots=True)
class Target:
    """An environment that is to serve something, whether it is there or not."""

    kind: str
    name: str
    path: Path
    # What it is built from; in itself for an earlier one.
    lock: Path

    @property
    def label(self) -> str:
        """`WorkerKind.label`."""
        return label_of(self.name)

    @property
    def python(self) -> Path | None:
        """Its interpreter; None while it is not ready."""
        python = self.path / "bin" / "python"
        return python if (self.path / MARKER).is_file() and python.exists() else None


class _RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """A choice of an administrator's; another lock, as of a new version of mlxd, ends it."""

    use: str
    instead_of: str


class EnvironmentChoice:
    """The environments below *root* that are in use.

    Args:
        root: `<home>/envs`.
        kinds: The worker kinds.
        locks: The lock files of single models.
    """

    def __init__(self, root: Path, kinds: WorkerKinds, locks: Mapping[str, Path]) -> None:
        self._root = root
        self._locks = locks
        # An upgrade on the disk is another kernel's.
        self._declared = {
            kind.name: self._target(kind.name, kind.label, kind.lock)
            for kind in kinds
            if kind.lock is not None
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that have environments of their own."""
        return tuple(self._declared)

    def declared(self, kind: str) -> Target:
        """The environment of the kind's lock."""
        return self._declared[kind]

    def used(self, kind: str, model: str = "") -> Target:
        """The environment that serves *model*, or models of *kind* without a lock of their own.

        Raises:
            EnvironmentFailed: The model's lock file cannot be read.
        """
        if lock := self._locks.get(model):
            try:
                return self._target(kind, kind, lock)
            except OSError as e:
                raise EnvironmentFailed(
                    f"{model}: its lock file {lock.name}: {e.strerror}; it stands in [models.options]"
                ) from None
        declared = self._declared[kind]
        choice = self._choices().get(declared.label)
        if choice is None or choice.instead_of != declared.name:
            return declared
        return self._existing(kind, self._root / choice.use)

    def names_in_use(self) -> frozenset[str]:
        """Of all kinds, and of the locks of single models with whatever kind."""
        names = {self.used(kind).name for kind in self.kinds}
        for lock in self._locks.values():
            if lock.is_file():
                names |= {self._target(kind, kind, lock).name for kind in self.kinds}
        return frozenset(names)

    def earlier(self, kind: str) -> Target:
        """The one that was built last before the one in use, and is complete.

        Raises:
            NotFound: There is none.
        """
        used, label = self.used(kind), self._declared[kind].label
        before = _built_ns(used.path) or 2**63
        found = [
            (built_ns, path)
            for path in self._root.glob(f"{label}-*")
            if label_of(path.name) == label
            and path.name not in (used.name, self._declared[kind].name)
            and (built_ns := _built_ns(path))
            and built_ns < before
        ]
        if not found:
            raise NotFound(f"{kind}: there is no earlier environment than {used.name}")
        return self._existing(kind, max(found)[1])

    def roll_back(self, kind: str, to: Target) -> None:
        """Use *to* from now on, until another lock comes or `go_forward`."""
        declared = self._declared[kind]
        choice = _RolledBack(use=to.name, instead_of=declared.name)
        self._write({**self._choices(), declared.label: choice})

    def go_forward(self, kind: str) -> None:
        """Use the environment of the kind's lock again."""
        choices = self._choices()
        if choices.pop(self._declared[kind].label, None):
            self._write(choices)

    def forget(self, name: str) -> None:
        """Use no longer what was removed."""
        choices = self._choices()
        if any(one.use == name for one in choices.values()):
            self._write({label: one for label, one in choices.items() if one.use != name})

    def _target(self, kind: str, label: str, lock: Path) -> Target:
        name = environment_name(label, lock)
        return Target(kind, name, self._root / name, lock)

    def _existing(self, kind: str, path: Path) -> Target:
        return Target(kind, path.name, path, path / LOCK_COPY)

    def _choices(self) -> dict[str, _RolledBack]:
        try:
            text = (self._root / ROLLED_BACK).read_bytes()
            choices = msgspec.json.decode(text, type=dict[str, _RolledBack])
        except (OSError, msgspec.DecodeError):
            return {}
        # A name is never a path.
        return {label: one for label, one in choices.items() if "/" not in one.use}

    def _write(self, choices: dict[str, _RolledBack]) -> None:
        path = self._root / ROLLED_BACK
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(choices))
        new.replace(path)


def label_of(name: str) -> str:
    """What the name of an environment begins with: its kind, and with what it computes."""
    return name.rpartition("-")[0]


def _built_ns(path: Path) -> int:
    """When it was complete, nanoseconds of Unix time; 0 if it never was."""
    try:
        return (path / MARKER).stat().st_mtime_ns
    except OSError:
        return 0
