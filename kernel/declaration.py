"""What a worker kind declares of itself, and which kind serves a model by that. Data alone: runs nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from transports.reports import Capability, Modality
from transports.settings import MIB

Name: TypeAlias = Annotated[str, Meta(max_length=256)]
Setting: TypeAlias = str | int | float | bool | None
# What every float has exactly; TOML has integers of any length, messages have not.
MAX_INTEGER = 2**53
# TOML has no null.
Default: TypeAlias = str | Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | float | bool


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to be served: a model must meet every condition that is given, by any of its alternatives."""

    # Of config.json; patterns as of a shell.
    model_types: tuple[Name, ...] = ()
    # The first of config.json's `architectures`; "" is none. Patterns as well.
    architectures: tuple[Name, ...] = ()
    # Names in the folder; patterns as well.
    files: tuple[Name, ...] = ()
    # Parts of the names of weights.
    tensors: tuple[Name, ...] = ()
    # No condition: what such a model does, where that is not all that its kind does.
    tasks: tuple[Name, ...] = ()

    def holds(
        self, model_type: str, architecture: str, files: Iterable[str], tensors: Iterable[str] | None
    ) -> bool:
        """Whether a model meets it; with *tensors* None that condition is left open."""
        return (
            # One that asks for nothing is a mistake, and would serve everything.
            self.rank > (0, False)
            and (not self.model_types or _any_matches((model_type,), self.model_types))
            and (not self.architectures or _any_matches((architecture,), self.architectures))
            and (not self.files or _any_matches(files, self.files))
            and (
                tensors is None
                or not self.tensors
                or any(part in name for name in tensors for part in self.tensors)
            )
        )

    @property
    def rank(self) -> tuple[int, bool]:
        """Of two kinds the one that asks for more knows a model better; a type says more than a name."""
        conditions = (self.model_types, self.architectures, self.files, self.tensors)
        return sum(map(bool, conditions)), bool(self.model_types)


class Declaration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file NAME.toml beside a worker kind's loader."""

    # What requests may ask of its models.
    tasks: Annotated[tuple[Name, ...], Meta(min_length=1)]
    # A model is served that meets one of these.
    serves: Annotated[tuple[Rule, ...], Meta(min_length=1)]
    modalities: tuple[Modality, ...] = ("text",)
    # What all its models can do; with weights, their chat templates tell of more.
    capabilities: tuple[Capability, ...] = ()
    # Without them config.json is the whole model, and says `memory_bytes` and `modalities` itself.
    weights: bool = True
    # Files that a model must have, each by one of these names.
    needs: tuple[Annotated[tuple[Name, ...], Meta(min_length=1)], ...] = ()
    # The lock file of its environment, beside the declaration; "" runs in mlxd's own Python.
    requirements: Name = ""
    # The same where workers run on an NVIDIA GPU, with CUDA 13; "" never do.
    cuda_requirements: Name = ""
    # What its environment must be able to import, besides the loader.
    modules: tuple[Name, ...] = ()
    # What a worker takes besides weights, keys and values.
    overhead_bytes: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] = 256 * MIB
    # Programs of `workers` whose libraries are in its environment too.
    tools: tuple[Name, ...] = ()
    # Its settings and their defaults.
    settings: dict[str, Default] = {}


def candidates(
    kinds: Mapping[str, Declaration], model_type: str, architecture: str, files: Collection[str]
) -> tuple[str, ...]:
    """The kinds that could serve a model of whose weights nothing is known yet."""
    return tuple(
        name
        for name, kind in kinds.items()
        if any(rule.holds(model_type, architecture, files, None) for rule in kind.serves)
    )


def serving(
    kinds: Mapping[str, Declaration],
    model_type: str,
    architecture: str,
    files: Collection[str],
    tensors: Collection[str],
) -> str | None:
    """The kind for a model: the one whose rule ranks highest, and of equals the first."""
    found: dict[str, tuple[int, bool]] = {}
    for name, kind in kinds.items():
        for rule in kind.serves:
            if rule.holds(model_type, architecture, files, tensors):
                found[name] = max(rule.rank, found.get(name, rule.rank))
    return max(found, key=found.__getitem__, default=None)


def tasks_of(
    kind: Declaration, model_type: str, architecture: str, files: Collection[str], tensors: Collection[str]
) -> tuple[str, ...]:
    """What requests may ask of a model that *kind* serves."""
    rules = [rule for rule in kind.serves if rule.holds(model_type, architecture, files, tensors)]
    return max(rules, key=lambda rule: rule.rank).tasks or kind.tasks


def _any_matches(names: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
