"""Tables of plugins in the settings: taken for what is installed, checked by those whose they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_packages import DECLARATION, install_frontend, install_worker

from kernel.worker_kinds import WorkerKinds, settings_of
from transports import config
from transports.errors import ConfigError
from transports.settings import Settings

SETTINGS = "[settings]\nnum_slots = 4\nshare = 0.5\nvoice = 'low'\nloud = false\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    config._plugin_names.cache_clear()
    yield tmp_path
    config._plugin_names.cache_clear()


def resolved(text: str) -> config.Resolved:
    return config.merge(text, "config.toml", {}, {})


def test_a_plugins_table_is_kept_as_it_is(site: Path) -> None:
    install_frontend(site, "door", "")

    found = resolved("[door]\nport = 1\n[http]\nport = 2")
    assert found.settings.section("door") == {"port": 1}
    assert found.settings.section("http")["port"] == 2
    assert [one.value for one in found.entries if one.key == "door.port"] == [1]
    assert found.settings.section("nothing") == {}


@pytest.mark.parametrize("name", ["window", "plugins"])
def test_a_table_of_nobody_is_an_error(site: Path, name: str) -> None:
    install_frontend(site, "door", "")

    with pytest.raises(ConfigError, match=f"{name}: unknown setting"):
        resolved(f"[{name}]\nport = 1")


def test_nobody_is_named_like_a_section_of_ours(site: Path) -> None:
    install_frontend(site, "kernel", "")

    assert resolved("[kernel]\nmax_models = 2").settings.kernel.max_models == 2
    with pytest.raises(ConfigError, match=r"kernel\.port: unknown setting"):
        resolved("[kernel]\nport = 1")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"slots": 1}, "parrot.slots: unknown setting, got 1; there are: num_slots, share, voice, loud"),
        ({"num_slots": "4"}, 'parrot.num_slots: expected an integer, got "4"'),
        ({"num_slots": 10**30}, f"parrot.num_slots: expected an integer, got {10**30}"),
        ({"num_slots": True}, "parrot.num_slots: expected an integer, got true"),
        ({"share": "x"}, 'parrot.share: expected a number, got "x"'),
        ({"loud": 1}, "parrot.loud: expected true or false, got 1"),
        ({"voice": ["low"]}, 'parrot.voice: expected a text, got ["low"]'),
    ],
)
def test_a_worker_kinds_settings_are_those_that_it_declares(
    site: Path, given: dict[str, object], said: str
) -> None:
    install_worker(site, "parrot", declaration=DECLARATION + SETTINGS)
    kind = WorkerKinds.installed()["parrot"]

    with pytest.raises(ConfigError) as caught:
        settings_of(kind, Settings(plugins={"parrot": given}))
    assert caught.value.message == said


def test_given_settings_stand_in_the_place_of_declared_ones(site: Path) -> None:
    install_worker(site, "parrot", declaration=DECLARATION + SETTINGS)
    kind = WorkerKinds.installed()["parrot"]

    found = settings_of(kind, Settings(plugins={"parrot": {"num_slots": 2, "share": 1}}))
    assert found == {"num_slots": 2, "share": 1, "voice": "low", "loud": False}
