"""Where settings come from: defaults < TOML file < MLXD_* environment < flags.

Each value knows its source, and a mistake is one line. Creates no file.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import msgspec.inspect
from msgspec import Struct

from transports.errors import ConfigError
from transports.settings import Settings

# Variables of ours that are no setting.
OTHER_VARIABLES = frozenset({"MLXD_HOME", "MLXD_CONFIG"})
TEST_PREFIX = "MLXD_TEST_"
# A wrong value is quoted in the error up to this many characters.
MAX_QUOTED = 80


class Entry(Struct, frozen=True, kw_only=True):
    """One setting, its value, and where the value comes from."""

    # "http.port"
    key: str
    value: object
    # "default", the path of the file, "MLXD_HTTP_PORT" or "--port".
    source: str


class Resolved(Struct, frozen=True, kw_only=True):
    """The settings in force, and one entry for each of them, in the order of settings.py."""

    settings: Settings
    entries: tuple[Entry, ...]


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder with everything that mlxd keeps: MLXD_HOME, or the user's data folder. Not created here."""
    if given := environ.get("MLXD_HOME"):
        return Path(given).expanduser().absolute()
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
    for entry in (
        *_from_file(text, file),
        *_from_environment(environ),
        *(_from_flag(key, value) for key, value in flags.items() if value is not None),
    ):
        found[entry.key] = entry
    sections: dict[str, dict[str, object]] = {}
    for entry in found.values():
        section, key = entry.key.split(".")
        sections.setdefault(section, {})[key] = entry.value
    settings = msgspec.convert(sections, Settings)
    _check_together(settings, found)
    entries = tuple(found.get(key) or _default(settings, key) for key in setting_types())
    return Resolved(settings=settings, entries=entries)


@functools.cache
def setting_types() -> dict[str, msgspec.inspect.Type]:
    """Each setting's type with its limits by "section.key", in the order of settings.py."""
    return {
        f"{section}.{field.name}": field.type
        for section in Settings.__struct_fields__
        for field in _fields(section)
    }


def environment_variable(key: str) -> str:
    """The variable that sets *key*: "http.port" -> "MLXD_HTTP_PORT"."""
    return "MLXD_" + key.replace(".", "_").upper()


def describe(type_: msgspec.inspect.Type) -> str:
    """What a setting of this type takes, in words: "an integer, 0 to 65535"."""
    match type_:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(str(v) for v in values)
        case msgspec.inspect.IntType():
            return "an integer" + _limits(type_)
        case msgspec.inspect.FloatType():
            return "a number" + _limits(type_)
        case msgspec.inspect.StrType():
            return "a text"
        case msgspec.inspect.VarTupleType():
            return "a list of texts"
        case _:
            raise TypeError(f"settings.py uses a type that has no description: {type_}")


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


def _from_file(text: str, file: str) -> Iterable[Entry]:
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise ConfigError(f"{file}: not valid TOML: {e}") from None
    for section, table in tables.items():
        if section not in Settings.__struct_fields__:
            raise ConfigError(f"{file}: {_unknown(section, table)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {section}: expected a table, [{section}], got {_quote(table)}")
        for name, value in table.items():
            key = f"{section}.{name}"
            if key not in setting_types():
                raise ConfigError(f"{file}: {_unknown(key, value)}")
            yield Entry(key=key, value=_check(f"{file}: {key}", key, value, strict=True), source=file)


def _from_environment(environ: Mapping[str, str]) -> Iterable[Entry]:
    variables = {environment_variable(key): key for key in setting_types()}
    for name, text in environ.items():
        if not name.startswith("MLXD_") or name in OTHER_VARIABLES or name.startswith(TEST_PREFIX):
            continue
        if name not in variables:
            near = _nearest(name, [*variables, *OTHER_VARIABLES])
            hint = f"did you mean {near}?" if near else "`mlxd config show` lists the settings"
            raise ConfigError(f"{name}: unknown variable, got {_quote(text)}; {hint}")
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
    type_ = setting_types()[key]
    given = value
    if isinstance(value, str) and not strict and isinstance(type_, msgspec.inspect.VarTupleType):
        value = [item.strip() for item in value.split(",") if item.strip()]
    try:
        checked = msgspec.convert(value, _annotation(key), strict=strict)
    except msgspec.ValidationError:
        checked = None
    # Infinity passes a lower limit, and no setting has a meaning for it.
    if checked is None or (isinstance(checked, float) and not math.isfinite(checked)):
        raise ConfigError(f"{where}: expected {describe(type_)}, got {_quote(given)}")
    return checked


# Any: an annotation may be a class, Annotated or Literal, and typing has no name for all of them.
@functools.cache
def _annotation(key: str) -> Any:
    section, name = key.split(".")
    return get_type_hints(type(getattr(Settings(), section)), include_extras=True)[name]


def _fields(section: str) -> tuple[msgspec.inspect.Field, ...]:
    info = msgspec.inspect.type_info(type(getattr(Settings(), section)))
    if not isinstance(info, msgspec.inspect.StructType):
        raise TypeError(f"settings.{section} is not a struct")
    return info.fields


# --- words ------------------------------------------------------------------------------------


def _limits(type_: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    if type_.ge is not None and type_.le is not None:
        return f", {type_.ge} to {type_.le}"
    words = []
    if type_.ge is not None:
        words.append(f"at least {type_.ge}")
    if type_.gt is not None:
        words.append(f"greater than {type_.gt}")
    if type_.le is not None:
        words.append(f"at most {type_.le}")
    if type_.lt is not None:
        words.append(f"less than {type_.lt}")
    return ", " + " and ".join(words) if words else ""


def _unknown(key: str, value: object) -> str:
    section, _, name = key.partition(".")
    keys = list(setting_types())
    if name:
        near = _nearest(key, keys)
        known = [k.partition(".")[2] for k in keys if k.startswith(f"{section}.")]
        hint = f"did you mean {near}?" if near else f"[{section}] has {', '.join(known)}"
    else:
        sections = Settings.__struct_fields__
        # A key without its table is the usual slip: `port = 8080` on the first line.
        near = next((k for k in keys if k.endswith(f".{key}")), None) or _nearest(key, sections)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(f'[{s}]' for s in sections)}"
    got = "" if isinstance(value, dict) else f", got {_quote(value)}"
    shown = key if key.isprintable() else _quote(key)
    return f"{shown}: unknown setting{got}; {hint}"


def _nearest(word: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def _quote(value: object) -> str:
    """A value on one line, without control characters, shortened."""
    text = json.dumps(value, default=str)
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
