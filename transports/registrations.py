"""What installed distributions register as frontends and worker kinds. Reads metadata and imports nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from transports.settings import Settings

# Entry-point groups: name -> "module:attribute".
FRONTENDS = "mlxd.frontends"
WORKERS = "mlxd.workers"

# The distribution whose registrations nobody can take the place of.
OURS = "mlxd"
# Names stand in commands, folders and the settings file.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_VALUE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Registration(Struct, frozen=True, kw_only=True):
    """One entry point, and who brought it."""

    group: str
    name: str
    # "module:attribute"
    value: str
    distribution: str
    version: str
    # Why it is not taken.
    error: str = ""


def registrations(group: str) -> tuple[Registration, ...]:
    """All entry points of *group*: mlxd's own first, then by distribution.

    Of two with one name the first is taken; a distribution with unreadable metadata is passed over.
    """
    found = sorted(_found(group), key=lambda one: (one.distribution != OURS, one.distribution, one.name))
    owners: dict[str, str] = {}
    checked = []
    for one in found:
        error = _error(one, owners)
        if not error:
            owners[one.name] = one.distribution
        checked.append(
            Registration(
                group=group,
                name=one.name,
                value=one.value,
                distribution=one.distribution,
                version=one.version,
                error=error,
            )
        )
    return tuple(checked)


def name_error(name: str) -> str:
    """Why a stranger's frontend or worker kind cannot have this name; "" if it can."""
    if not _NAME.fullmatch(name):
        return f"name: expected {_NAME.pattern}, got {name[:80]!r}"
    if name in Settings.__struct_fields__:
        return f"name: {name} is a section of mlxd's settings"
    return ""


def _found(group: str) -> Iterator[Registration]:
    # Imported here: it takes 10 ms, and most commands only read settings.
    from importlib.metadata import distributions  # noqa: PLC0415

    seen = set()
    for distribution in distributions():
        try:
            # Most have none, and parsing metadata takes a millisecond each.
            if group not in (distribution.read_text("entry_points.txt") or ""):
                continue
            name, version = distribution.metadata["Name"], distribution.version
            points = [(point.name, point.value) for point in distribution.entry_points.select(group=group)]
        except Exception:  # noqa: BLE001, S112 - whatever strangers' metadata makes of the parser.
            continue
        # As for imports, the first on sys.path hides the others.
        if name in seen:
            continue
        seen.add(name)
        for point_name, value in points:
            yield Registration(
                group=group, name=point_name, value=value.strip(), distribution=name, version=version
            )


def _error(one: Registration, owners: dict[str, str]) -> str:
    if owner := owners.get(one.name):
        return f"{owner} registers {one.name} too, and is taken"
    if one.distribution != OURS and (error := name_error(one.name)):
        return error
    if not _VALUE.fullmatch(one.value):
        return f"expected module:attribute, got {one.value[:80]!r}"
    return ""
