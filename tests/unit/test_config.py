"""Settings come from defaults, file, environment and flags, and a mistake is one helpful line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.config import (
    Entry,
    Resolved,
    config_path,
    environment_variable,
    home,
    merge,
    resolve,
    setting_types,
)
from transports.errors import ConfigError
from transports.settings import ModelOptions, Settings

FILE = "/etc/mlxd.toml"
SECTIONS = "[kernel], [http], [stdio], [media], [text], [vision], [embedding], [models], [log]"


def put_together(text: str = "", environ: dict[str, str] | None = None, **flags: object) -> Resolved:
    return merge(text, FILE, environ or {}, {f"http.{k}": v for k, v in flags.items()})


def error_of(text: str = "", environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        put_together(text, environ, **flags)
    assert "\n" not in caught.value.message
    return caught.value.message


def port(resolved: Resolved) -> Entry:
    return next(e for e in resolved.entries if e.key == "http.port")


def test_nothing_given_is_all_defaults() -> None:
    resolved = put_together()

    assert Settings() == resolved.settings
    assert {"default"} == {e.source for e in resolved.entries}
    assert list(setting_types()) == [e.key for e in resolved.entries]


def test_each_source_overrides_the_one_before() -> None:
    text, environ = "[http]\nport = 1", {"MLXD_HTTP_PORT": "2"}

    assert Entry(key="http.port", value=1, source=FILE) == port(put_together(text))
    assert Entry(key="http.port", value=2, source="MLXD_HTTP_PORT") == port(put_together(text, environ))
    assert Entry(key="http.port", value=3, source="--port") == port(put_together(text, environ, port="3"))
    assert put_together(text, environ, port="3").settings.http.port == 3


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert port(put_together(port=None)).source == "default"


def test_the_other_keys_of_a_section_keep_their_source() -> None:
    resolved = put_together('[http]\nhost = "::1"', {"MLXD_HTTP_PORT": "2"})

    assert {e.key: e.source for e in resolved.entries if e.source != "default"} == {
        "http.host": FILE,
        "http.port": "MLXD_HTTP_PORT",
    }


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("MLXD_HTTP_STRICT", "true", True),
        ("MLXD_HTTP_STRICT", "0", False),
        ("MLXD_KERNEL_HEARTBEAT_S", "0.5", 0.5),
        ("MLXD_TEXT_DEVICE", "cpu", "cpu"),
        ("MLXD_MODELS_PATHS", "/a, /b c,", ("/a", "/b c")),
        ("MLXD_KERNEL_FRONTENDS", "", ()),
    ],
)
def test_text_of_a_variable_becomes_the_setting_s_type(variable: str, text: str, expected: object) -> None:
    resolved = put_together("", {variable: text})

    assert [expected] == [e.value for e in resolved.entries if e.source == variable]


def test_what_is_different_for_a_model_comes_from_a_table_with_its_name() -> None:
    resolved = put_together('[models.options."a/b-2.5"]\npinned = true\nnum_slots = 3')

    assert {"a/b-2.5": ModelOptions(pinned=True, num_slots=3)} == resolved.settings.models.options
    assert [
        Entry(key='models.options."a/b-2.5".pinned', value=True, source=FILE),
        Entry(key='models.options."a/b-2.5".num_slots', value=3, source=FILE),
    ] == [entry for entry in resolved.entries if entry.source != "default"]


def test_a_whole_number_is_fine_where_a_number_is_expected() -> None:
    assert put_together("[kernel]\nheartbeat_s = 2").settings.kernel.heartbeat_s == 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[http]\nport = 70000", "http.port: expected an integer, 0 to 65535, got 70000"),
        ('[http]\nport = "80"', 'http.port: expected an integer, 0 to 65535, got "80"'),
        ("[http]\nport = true", "http.port: expected an integer, 0 to 65535, got true"),
        ("[kernel]\nheartbeat_s = nan", "kernel.heartbeat_s: expected a number, 0.05 to 60, got NaN"),
        (
            "[http]\nwrite_timeout_s = inf",
            "http.write_timeout_s: expected a number, at least 0, got Infinity",
        ),
        ("[kernel]\nmax_models = 0", "kernel.max_models: expected an integer, at least 1, got 0"),
        ('[text]\ndevice = "tpu"', 'text.device: expected one of auto, cpu, gpu, got "tpu"'),
        ('[models]\npaths = "/a"', 'models.paths: expected a list of texts, got "/a"'),
        ("[models]\npaths = [1]", "models.paths: expected a list of texts, got [1]"),
        ("[http]\nstrict = 1", "http.strict: expected true or false, got 1"),
        ("http = 3", "http: expected a table, [http], got 3"),
        ("[http]\nprot = 80", "http.prot: unknown setting, got 80; did you mean http.port?"),
        ("[htpp]\nport = 80", "htpp: unknown setting; did you mean http?"),
        ("port = 80", "port: unknown setting, got 80; did you mean http.port?"),
        (
            "zzz = 1",
            f"zzz: unknown setting, got 1; there are {SECTIONS}",
        ),
        (
            '"a\\nb" = 1',
            f'"a\\nb": unknown setting, got 1; there are {SECTIONS}',
        ),
        ("[models]\noptions = 1", 'models.options: expected tables, [models.options."NAME"], got 1'),
        (
            "[models.options]\nm = 1",
            'models.options."m": expected a table, [models.options."m"], got 1',
        ),
        (
            '[models.options."a/b.c"]\npined = true',
            'models.options."a/b.c".pined: unknown setting, got true; did you mean pinned?',
        ),
        (
            "[models.options.m]\nnum_slots = 0",
            'models.options."m".num_slots: expected an integer, 1 to 256, got 0',
        ),
        ("[log]\nzzz = 1", "log.zzz: unknown setting, got 1; [log] has level, format, max_bytes"),
        (
            "[http]\nport = ]",
            "not valid TOML: Invalid value (at line 2, column 8)",
        ),
    ],
)
def test_a_mistake_in_the_file_names_file_key_value_and_what_is_allowed(text: str, message: str) -> None:
    assert f"{FILE}: {message}" == error_of(text)


def test_a_mistake_in_a_variable_names_the_variable() -> None:
    assert error_of("", {"MLXD_HTTP_PORT": ""}) == 'MLXD_HTTP_PORT: expected an integer, 0 to 65535, got ""'


def test_a_mistake_in_a_flag_names_the_flag() -> None:
    assert error_of(port="x") == '--port: expected an integer, 0 to 65535, got "x"'


def test_an_unknown_variable_is_an_error_that_names_the_nearest() -> None:
    message = error_of("", {"MLXD_HTTP_PROT": "1"})

    assert message == 'MLXD_HTTP_PROT: unknown variable, got "1"; did you mean MLXD_HTTP_PORT?'


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {
        "MLXD_HOME": "x",
        "MLXD_CONFIG": "x",
        "MLXD_TEST_SLOW": "1",
        "_MLXD_COMPLETE": "1",
        "HOME": "/",
    }

    assert Settings() == put_together("", environ).settings


def test_a_long_value_is_quoted_shortened_and_on_one_line() -> None:
    message = error_of("", {"MLXD_HTTP_PORT": "\n\x1b" * 1000})

    assert len(message) < 200
    assert "\x1b" not in message


@given(st.text())
def test_any_file_gives_settings_or_one_line(text: str) -> None:
    try:
        put_together(text)
    except ConfigError as e:
        assert "\n" not in e.message


@pytest.mark.parametrize("key", setting_types())
def test_every_setting_can_come_from_the_environment(key: str) -> None:
    """Whatever its type is, the default written as text is read back as the default."""
    default = next(e.value for e in put_together().entries if e.key == key)
    text = ",".join(default) if isinstance(default, (tuple, dict)) else str(default)

    resolved = put_together("", {environment_variable(key): text})

    assert Settings() == resolved.settings


# --- places -----------------------------------------------------------------------------------


def test_home_is_mlxd_home_and_holds_the_settings_file(tmp_path: Path) -> None:
    environ = {"MLXD_HOME": str(tmp_path)}

    assert tmp_path == home(environ)
    assert tmp_path / "config.toml" == config_path(environ)


def test_mlxd_config_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[http]\nport = 5")

    resolved = resolve(environ={"MLXD_HOME": "/nowhere", "MLXD_CONFIG": str(tmp_path / "a.toml")})

    assert Entry(key="http.port", value=5, source=str(tmp_path / "a.toml")) == port(resolved)


def test_without_the_variable_home_is_absolute() -> None:
    assert home({}).is_absolute()
    assert home({}).name == "mlxd"


def test_no_file_is_fine_unless_it_was_named(tmp_path: Path) -> None:
    assert Settings() == resolve(environ={"MLXD_HOME": str(tmp_path)}).settings

    with pytest.raises(ConfigError, match=r"^MLXD_CONFIG: no such file: /nowhere/x\.toml$"):
        resolve(environ={"MLXD_CONFIG": "/nowhere/x.toml"})


def test_a_file_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "config.toml"
    bad.write_bytes(b"a\xff")

    with pytest.raises(ConfigError, match="not UTF-8: byte 1 is 0xff"):
        resolve(environ={}, path=bad)


def test_a_folder_in_place_of_the_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        resolve(environ={}, path=tmp_path)


def test_a_heartbeat_slower_than_the_patience_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"MLXD_KERNEL_HEARTBEAT_S.*dead_after_s \(5\) above"):
        merge("", "config.toml", {"MLXD_KERNEL_HEARTBEAT_S": "7"}, {})


ALIASES = '[models.aliases]\n"gpt-4o" = "demo/tiny-vl"\n'


def test_aliases_come_from_the_file_or_a_variable() -> None:
    variable = {"MLXD_MODELS_ALIASES": "a=b/c, d = e"}

    assert merge(ALIASES, FILE, {}, {}).settings.models.aliases == {"gpt-4o": "demo/tiny-vl"}
    assert merge(ALIASES, FILE, variable, {}).settings.models.aliases == {"a": "b/c", "d": "e"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f'{ALIASES}"a" = "gpt-4o"',
            'models.aliases."a": expected the name of a model, got the alias "gpt-4o"',
        ),
        (
            f'{ALIASES}"a" = "a"',
            'models.aliases."a": expected the name of a model, got the alias "a"',
        ),
        (
            f'{ALIASES}"a" = ""',
            'models.aliases."a": expected names of 1 to 256 characters, got ""',
        ),
        (f'{ALIASES}"a" = 1', "models.aliases: expected a table of texts, got "),
        (
            f'{ALIASES}[models.options."gpt-4o"]\npinned = true',
            'models.aliases."gpt-4o": [models.options."gpt-4o"] is of an alias; it belongs to "demo/tiny-vl"',
        ),
    ],
)
def test_an_alias_stands_for_a_model_alone(text: str, message: str) -> None:
    assert error_of(text).startswith(f"{FILE}: {message}")
