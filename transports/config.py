"""Where settings come from: defaults < TOML file < MLXD_* environment < flags.

Each value knows its source, and a mistake is one line. Creates no file.
"""

from __future__ import annotations

import functools
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect
from msgspec import Struct

from transports.envelope import MAX_MODEL_NAME
from transports.errors import ConfigError
from transports.registrations import FRONTENDS, WORKERS, registrations
from transports.setting_types import annotations_of, convert, fields_of, nearest, quote
from transports.settings import SECTIONS, ModelOptions, ModelsSettings, Settings

# Variables of ours that are no setting.
OTHER_VARIABLES = frozenset({"MLXD_HOME", "MLXD_CONFIG"})
TEST_PREFIX = "MLXD_TEST_"
# Tables of tables, by a name of the user's; they come from the file alone.
NAMED_TABLES: Mapping[str, type[Struct]] = {"models.options": ModelOptions}


class Entry(Struct, frozen=True, kw_only=True):
    """One setting, its value, and where the value comes from."""

    # "http.port", 'models.options."demo/tiny-vl".pinned'
    key: str
    value: object
    # "default", the path of the file, "MLXD_HTTP_PORT" or "--port".
    source: str


class Resolved(Struct, frozen=True, kw_only=True):
    """The settings in force, and one entry for each of them, in the order of settings.py.

    Of tables by name the entries hold what was given.
    """

    settings: Settings
    entries: tuple[Entry, ...]


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder with everything that mlxd keeps: MLXD_HOME, or the user's data folder. Not created here."""
    if given := environ.get("MLXD_HOME"):
        path = Path(given).expanduser().absolute()
        if any("\udc80" <= char <= "\udcff" for char in str(path)):
            raise ConfigError("MLXD_HOME: expected a path in UTF-8; set it to another folder")
        return path
    # Imported here: workers import this package without platformdirs in their environment.
    import platformdirs  # noqa: PLC0415

    path = platformdirs.user_data_path("mlxd")
    if not path.is_absolute():
        raise ConfigError("MLXD_HOME: not set, and this user has no home folder; set MLXD_HOME to a folder")
    return path


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The settings file: MLXD_CONFIG, or config.toml in `home`. It need not exist."""
    if given := environ.get("MLXD_CONFIG"):
        return Path(given).expanduser().absolute()
    return home(environ) / "config.toml"


def resolve(
    flags: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    path: Path | None = None,
) -> Resolved:
    """Read the file and put all sources together.

    Args:
        flags: "section.key" -> value, text or already typed; None for a flag that was not given.
        environ: The process's environment.
        path: The settings file; None takes `config_path`.

    Raises:
        ConfigError: One line naming the source, the key, the value and what is allowed.
    """
    path = path or config_path(environ)
    text = _read(path, must_exist="MLXD_CONFIG" in environ)
    return merge(text, str(path), environ, flags or {})


def merge(text: str, file: str, environ: Mapping[str, str], flags: Mapping[str, object]) -> Resolved:
    """Put all sources together; *text* is the content of the settings file named *file*."""
    found: dict[str, Entry] = {}
    tables = _parse(text, file)
    named = _named_tables(tables, file)
    for entry in (
        *_from_file(tables, file),
        *_from_environment(environ),
        *(_from_flag(key, value) for key, value in flags.items() if value is not None),
    ):
        found[entry.key] = entry
    sections: dict[str, dict[str, object]] = {}
    for entry in found.values():
        section, key = entry.key.split(".")
        sections.setdefault(section, {})[key] = entry.value
    for path, content in named.items():
        section, key = path.split(".")
        sections.setdefault(section, {})[key] = content
    of_plugins = {name: table for name, table in tables.items() if name not in SECTIONS}
    settings = msgspec.convert({**sections, "plugins": of_plugins}, Settings)
    _check_together(settings, found)
    entries = [found.get(key) or _default(settings, key) for key in setting_types()]
    entries += [
        Entry(key=f"{path}.{json.dumps(name)}.{key}", value=value, source=file)
        for path, content in named.items()
        for name, table in content.items()
        for key, value in table.items()
    ]
    entries += [
        Entry(key=f"{name}.{key}", value=value, source=file)
        for name, table in of_plugins.items()
        for key, value in table.items()
    ]
    return Resolved(settings=settings, entries=tuple(entries))


@functools.cache
def setting_types() -> dict[str, msgspec.inspect.Type]:
    """Each setting's type with its limits by "section.key", in the order of settings.py."""
    return {
        f"{section}.{key}": type_
        for section in SECTIONS
        for key, type_ in fields_of(_section(section)).items()
        if f"{section}.{key}" not in NAMED_TABLES
    }


def environment_variable(key: str) -> str:
    """The variable that sets *key*: "http.port" -> "MLXD_HTTP_PORT"."""
    return "MLXD_" + key.replace(".", "_").upper()


@functools.cache
def _plugin_names() -> frozenset[str]:
    """Frontends and worker kinds that are installed: each may have a table, which it checks itself."""
    found = (*registrations(FRONTENDS), *registrations(WORKERS))
    return frozenset(one.name for one in found if not one.error)


def _check_together(settings: Settings, found: Mapping[str, Entry]) -> None:
    """Settings that are right by themselves and wrong beside each other."""
    kernel = settings.kernel
    if kernel.dead_after_s <= kernel.heartbeat_s:
        key = "kernel.dead_after_s" if "kernel.dead_after_s" in found else "kernel.heartbeat_s"
        raise ConfigError(
            f"{found[key].source}: {key} = {found[key].value}: expected kernel.dead_after_s "
            f"({kernel.dead_after_s:g}) above kernel.heartbeat_s ({kernel.heartbeat_s:g}): "
            "a peer is heard once a heartbeat"
        )
    _check_aliases(settings.models, found)


def _check_aliases(models: ModelsSettings, found: Mapping[str, Entry]) -> None:
    """An alias stands for a model, so none stands for itself in a roundabout way."""
    for alias, model in models.aliases.items():
        where = f"{found['models.aliases'].source}: models.aliases.{json.dumps(alias)}"
        if model in models.aliases:
            raise ConfigError(f"{where}: expected the name of a model, got the alias {quote(model)}")
        for name in (alias, model):
            if not (0 < len(name) <= MAX_MODEL_NAME and name.isprintable()):
                raise ConfigError(
                    f"{where}: expected names of 1 to {MAX_MODEL_NAME} characters, got {quote(name)}"
                )
        if alias in models.options:
            raise ConfigError(
                f"{where}: [models.options.{json.dumps(alias)}] is of an alias; it belongs to {quote(model)}"
            )


# --- sources ----------------------------------------------------------------------------------


def _read(path: Path, *, must_exist: bool) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise ConfigError(f"MLXD_CONFIG: no such file: {path}") from None
        return ""
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: not UTF-8: byte {e.start} is {e.object[e.start]:#04x}") from None
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise ConfigError(f"{path}: cannot be read: {reason}") from None


def _parse(text: str, file: str) -> dict[str, Any]:  # Any: what TOML gives before it is looked at.
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise ConfigError(f"{file}: not valid TOML: {e}") from None


def _from_file(tables: Mapping[str, Any], file: str) -> Iterable[Entry]:
    for section, table in tables.items():
        if section not in SECTIONS and section not in _plugin_names():
            raise ConfigError(f"{file}: {_unknown(section, table)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {section}: expected a table, [{section}], got {quote(table)}")
        if section not in SECTIONS:
            continue
        for name, value in table.items():
            key = f"{section}.{name}"
            if key in NAMED_TABLES:
                continue
            if key not in setting_types():
                raise ConfigError(f"{file}: {_unknown(key, value)}")
            yield Entry(key=key, value=_check(f"{file}: {key}", key, value, strict=True), source=file)


def _named_tables(tables: Mapping[str, Any], file: str) -> dict[str, dict[str, dict[str, object]]]:
    """What the file says of single things: path -> name -> key -> value."""
    found: dict[str, dict[str, dict[str, object]]] = {}
    for path in NAMED_TABLES:
        section, key = path.split(".")
        table = tables.get(section)
        content = table.get(key, {}) if isinstance(table, dict) else {}
        for name, given in _tables_of(content, path, file):
            where = f"{path}.{json.dumps(name)}"
            found.setdefault(path, {})[name] = {
                key: _check_named(file, where, path, key, value) for key, value in given.items()
            }
    return found


def _tables_of(content: object, path: str, file: str) -> Iterable[tuple[str, dict[str, Any]]]:
    if not isinstance(content, dict):
        raise ConfigError(f'{file}: {path}: expected tables, [{path}."NAME"], got {quote(content)}')
    for name, table in content.items():
        if not isinstance(table, dict):
            where = f"{path}.{json.dumps(name)}"
            raise ConfigError(f"{file}: {where}: expected a table, [{where}], got {quote(table)}")
        yield name, table


def _check_named(file: str, where: str, path: str, key: str, value: object) -> object:
    known = annotations_of(NAMED_TABLES[path])
    if key not in known:
        near = nearest(key, known)
        hint = f"did you mean {near}?" if near else f"it may have {', '.join(known)}"
        raise ConfigError(f"{file}: {where}.{key}: unknown setting, got {quote(value)}; {hint}")
    return convert(f"{file}: {where}.{key}", known[key], value, strict=True)


def _from_environment(environ: Mapping[str, str]) -> Iterable[Entry]:
    variables = {environment_variable(key): key for key in setting_types()}
    for name, text in environ.items():
        if not name.startswith("MLXD_") or name in OTHER_VARIABLES or name.startswith(TEST_PREFIX):
            continue
        if name not in variables:
            near = nearest(name, [*variables, *OTHER_VARIABLES])
            hint = f"did you mean {near}?" if near else "`mlxd config show` lists the settings"
            raise ConfigError(f"{name}: unknown variable, got {quote(text)}; {hint}")
        key = variables[name]
        yield Entry(key=key, value=_check(name, key, text, strict=False), source=name)


def _from_flag(key: str, value: object) -> Entry:
    flag = "--" + key.split(".")[1].replace("_", "-")
    return Entry(key=key, value=_check(flag, key, value, strict=False), source=flag)


def _default(settings: Settings, key: str) -> Entry:
    section, name = key.split(".")
    return Entry(key=key, value=getattr(getattr(settings, section), name), source="default")


# --- checks -----------------------------------------------------------------------------------


def _check(where: str, key: str, value: object, *, strict: bool) -> object:
    """The value in its setting's type; text is converted unless *strict*."""
    section, name = key.split(".")
    annotation = annotations_of(_section(section))[name]
    if isinstance(value, str) and not strict:
        items = [item.strip() for item in value.split(",") if item.strip()]
        match setting_types()[key]:
            case msgspec.inspect.VarTupleType():
                return convert(where, annotation, items, strict=strict)
            case msgspec.inspect.DictType() if all("=" in item for item in items):
                return convert(
                    where,
                    annotation,
                    dict(_pair(item) for item in items),
                    strict=strict,
                )
    return convert(where, annotation, value, strict=strict)


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name.strip(), value.strip()


def _section(name: str) -> type[Struct]:
    return type(getattr(Settings(), name))


# --- words ------------------------------------------------------------------------------------


def _unknown(key: str, value: object) -> str:
    section, _, name = key.partition(".")
    keys = list(setting_types())
    if name:
        near = nearest(key, keys)
        known = [k.partition(".")[2] for k in keys if k.startswith(f"{section}.")]
        hint = f"did you mean {near}?" if near else f"[{section}] has {', '.join(known)}"
    else:
        sections = SECTIONS
        # A key without its table is the usual slip: `port = 8080` on the first line.
        near = next((k for k in keys if k.endswith(f".{key}")), None) or nearest(key, sections)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(f'[{s}]' for s in sections)}"
    got = "" if isinstance(value, dict) else f", got {quote(value)}"
    shown = key if key.isprintable() else quote(key)
    return f"{shown}: unknown setting{got}; {hint}"
