"""The worker kinds that installed distributions declare. Reads their files, and imports nothing of them."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import msgspec

from kernel.declaration import MAX_INTEGER, Declaration, Setting
from transports.errors import ConfigError, NotFound, PluginError
from transports.registrations import OURS, WORKERS, Registration, registrations
from transports.setting_types import quote
from transports.settings import Settings

# A declaration is a page; a lock file is 200 KB.
MAX_DECLARATION_BYTES = 256 * 1024
# One kind has two: that for its CPU environment stays as it is while the other serves.
CUDA_SUFFIX = "-cuda"
_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


@dataclass(frozen=True, slots=True)
class WorkerKind:
    """A kind whose declaration is right."""

    registration: Registration
    declared: Declaration
    # Its environment's; None runs in the kernel's own Python.
    lock: Path | None
    # What its workers may import besides their environment and what all may: name -> file or folder.
    packages: Mapping[str, Path]
    # Its environment's on an NVIDIA GPU; None has none. `devices.py` chooses.
    cuda_lock: Path | None = None
    # The GPU that its workers run on, as CUDA_VISIBLE_DEVICES takes it; "" on a CPU, and on a Mac.
    gpu_uuid: str = ""
    # Why no worker of it can be started as the settings are; "" if it can.
    refusal: str = ""

    @property
    def name(self) -> str:
        """As models and settings name it."""
        return self.registration.name

    @property
    def label(self) -> str:
        """What the names of its environments begin with."""
        is_cuda = self.lock is not None and self.lock == self.cuda_lock
        return f"{self.name}{CUDA_SUFFIX}" if is_cuda else self.name

    @property
    def loader(self) -> str:
        """What loads a model, "module:function"."""
        return self.registration.value


class WorkerKinds:
    """All of them by name, mlxd's own first; and what was wrong with the others."""

    def __init__(self, kinds: Mapping[str, WorkerKind], broken: tuple[Registration, ...] = ()) -> None:
        self._kinds = dict(kinds)
        self.broken = broken
        self.declarations = {name: kind.declared for name, kind in self._kinds.items()}

    @classmethod
    def installed(cls) -> WorkerKinds:
        """Those that this Python has; reads the disk."""
        kinds, broken = {}, []
        for one in registrations(WORKERS):
            try:
                if one.error:
                    raise PluginError(one.error)
                kinds[one.name] = _read(one)
            except PluginError as e:
                broken.append(msgspec.structs.replace(one, error=e.message))
        return cls(kinds, tuple(broken))

    def __iter__(self) -> Iterator[WorkerKind]:
        return iter(self._kinds.values())

    def __getitem__(self, name: str) -> WorkerKind:
        try:
            return self._kinds[name]
        except KeyError:
            there = ", ".join(self._kinds)
            raise NotFound(f"worker kind {name!r}: not known; there are: {there}") from None

    def with_tool(self, tool: str) -> str:
        """The kind whose environment has what a program of `workers` needs.

        Raises:
            NotFound: None does.
        """
        for kind in self:
            if tool in kind.declared.tools:
                return kind.name
        raise NotFound(f"{tool}: no worker kind has it; install mlxd again")


def settings_of(kind: WorkerKind, settings: Settings) -> dict[str, Setting]:
    """The settings of a kind: mlxd's section for one of its own, else what was declared and given.

    Raises:
        ConfigError: One was given that is not declared, or of another type.
    """
    declared, given = kind.declared.settings, settings.section(kind.name)
    for key, value in given.items() if kind.registration.distribution != OURS else ():
        if key not in declared:
            known = ", ".join(declared) or "none"
            raise ConfigError(f"{kind.name}.{key}: unknown setting, got {quote(value)}; there are: {known}")
        wanted = type(declared[key])
        is_fit = type(value) is wanted or (type(value), wanted) == (int, float)
        if not is_fit or (isinstance(value, int) and abs(value) > MAX_INTEGER):
            raise ConfigError(f"{kind.name}.{key}: expected {_WORDS[wanted]}, got {quote(value)}")
    return {**declared, **msgspec.convert(given, dict[str, Setting])}


def _read(one: Registration) -> WorkerKind:
    module = one.value.partition(":")[0].split(".")
    package = _package(module[0])
    folder = package.joinpath(*module[1:-1])
    declared = _declaration(folder / f"{one.name}.toml")
    lock = _lock(folder, one.name, "requirements", declared.requirements)
    cuda_lock = _lock(folder, one.name, "cuda_requirements", declared.cuda_requirements)
    # mlxd's own are in `workers`, which all may import.
    packages = {} if one.distribution == OURS else {module[0]: package, **_installed(one.distribution)}
    return WorkerKind(one, declared, lock, packages, cuda_lock)


def _lock(folder: Path, kind: str, key: str, name: str) -> Path | None:
    lock = folder / name if name else None
    if lock is not None and (lock.parent != folder or not lock.is_file()):
        raise PluginError(f"{kind}.toml: {key}: no file {name!r} beside it")
    return lock


def _package(name: str) -> Path:
    """The folder of a top-level package."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as e:
        raise PluginError(f"package {name}: {e}") from None
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        raise PluginError(f"package {name}: not found; its loader must be in a package with an __init__.py")
    return Path(next(iter(spec.submodule_search_locations)))


def _declaration(path: Path) -> Declaration:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_DECLARATION_BYTES + 1)
        if len(text) > MAX_DECLARATION_BYTES:
            raise PluginError(f"{path.name}: expected at most {MAX_DECLARATION_BYTES} bytes")
        return msgspec.convert(tomllib.loads(text.decode()), Declaration)
    except OSError as e:
        raise PluginError(f"{path}: {e.strerror}; the declaration of a kind is beside its loader") from None
    except (ValueError, RecursionError) as e:
        raise PluginError(f"{path.name}: {e}") from None


def _installed(name: str) -> dict[str, Path]:
    """What *name* installed into site-packages, by top-level name; of an editable one its metadata alone."""
    found = distribution(name)
    tops = {file.parts[0] for file in found.files or () if file.parts}
    tops = {top for top in tops if top not in ("..", "__pycache__") and not top.endswith(".pth")}
    tops = {top for top in tops if not top.startswith("__editable__")}
    return {top: Path(str(found.locate_file(top))) for top in sorted(tops)}
