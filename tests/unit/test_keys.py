"""The key file: nobody else reads it, no secret is in it, and it is never half written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from plugins.cli.keys import keys
from plugins.keys import (
    MAX_KEYS,
    Key,
    change_keys,
    digest_of,
    new_secret,
    read_keys,
    stamp_of,
)
from transports.errors import ConfigError


def key(name: str, **fields: object) -> Key:
    return Key(name=name, digest=digest_of(name), created=1, **fields)  # type: ignore[arg-type]


def add(path: Path, *keys: Key) -> None:
    change_keys(path, lambda known: (*known, *keys))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


def test_what_was_written_is_read(path: Path) -> None:
    keys = (
        key("ann", scope="admin"),
        key("bob", models=("a/b",), max_priority=-1, max_requests_per_minute=7),
    )
    add(path, *keys)

    assert read_keys(path) == keys


def test_no_file_is_something_else_than_no_key(path: Path) -> None:
    assert read_keys(path) is None
    add(path)
    assert read_keys(path) == ()


def test_only_its_user_can_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        add(path, key("ann"))
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_can_touch_is_refused(path: Path, mode: int) -> None:
    add(path, key("ann"))
    path.chmod(mode)

    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(path)


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path, key("ann"))
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)

    with pytest.raises(ConfigError, match="expected a file of this user"):
        read_keys(path)


def test_a_link_is_refused(path: Path) -> None:
    add(path, key("ann"))
    link = path.with_name("link")
    link.symlink_to(path)

    with pytest.raises(ConfigError, match="expected a file"):
        read_keys(link)


@pytest.mark.parametrize("what", ["mkdir", "mkfifo"])
def test_what_is_no_file_is_refused_and_not_waited_for(path: Path, what: str) -> None:
    path.parent.mkdir()
    getattr(os, what)(path, 0o600)

    with pytest.raises(ConfigError):
        read_keys(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"keys": [{"name": "ann"}]}',
        b'{"keys": [], "more": 1}',
        b'{"keys": [{"name": "a b", "digest": "%b", "created": 1}]}' % (b"0" * 64),
        b'{"keys": [{"name": "ann", "digest": "%b", "created": 1, "scope": "root"}]}' % (b"0" * 64),
        b'{"keys": [%b, %b]}' % ((b'{"name": "ann", "digest": "%b", "created": 1}' % (b"0" * 64),) * 2),
    ],
)
def test_what_is_not_as_we_write_it_is_refused_with_its_name(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(ConfigError) as raised:
        read_keys(path)
    assert raised.value.message.startswith(f"{path}: ")


def test_what_could_not_be_read_again_is_not_written(path: Path) -> None:
    add(path, key("ann"))

    with pytest.raises(ConfigError):
        add(path, *(key(f"k{n}") for n in range(MAX_KEYS)))
    assert [one.name for one in read_keys(path) or ()] == ["ann"]


def test_commands_at_the_same_time_lose_nothing(path: Path) -> None:
    names = {f"k{n}" for n in range(16)}
    threads = [threading.Thread(target=add, args=(path, key(name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert {one.name for one in read_keys(path) or ()} == names
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


def test_a_command_that_hangs_over_them_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.keys.LOCK_TIMEOUT_S", 0.0)

    def change_again(_: tuple[Key, ...]) -> tuple[Key, ...]:
        add(path, key("bob"))
        return (key("ann"),)

    with pytest.raises(ConfigError, match="another command is changing the keys"):
        change_keys(path, change_again)
    assert read_keys(path) is None


def test_every_change_has_another_stamp(path: Path) -> None:
    stamps = [stamp_of(path)]
    for name in ("a", "b"):
        change_keys(path, lambda _, name=name: (key(name),))  # type: ignore[misc]
        stamps.append(stamp_of(path))
    path.unlink()

    assert stamps[0] is None
    assert len(set(stamps)) == 3
    assert stamp_of(path) is None


def test_a_list_of_none_says_what_that_means(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLXD_HOME", str(path.parent))
    said = [CliRunner().invoke(keys, ["list"]).output]
    add(path)
    said.append(CliRunner().invoke(keys, ["list"]).output)

    assert "none is needed; a network needs one" in said[0]
    assert f"nobody is answered; without {path} none is needed" in said[1]


def test_secrets_are_long_and_not_kept(path: Path) -> None:
    secret = new_secret()
    add(path, Key(name="ann", digest=digest_of(secret), created=1))

    assert len(secret) >= 40
    assert secret != new_secret()
    assert secret not in path.read_text()
    assert key("ann").may_use("anything")
    assert not key("ann", models=("a",)).may_use("a/b")
