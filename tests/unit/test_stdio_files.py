"""`file:` URLs: below the allowed folders and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugins.stdio import files
from plugins.stdio.files import read_allowed
from transports.errors import Forbidden, RequestError, RequestTooLarge


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed folder, beside one that is not."""
    folder = tmp_path / "allowed"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "a b.png").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "file").write_bytes(b"secret")
    return folder


def read(root: Path, url: str, max_bytes: int = 100) -> bytes:
    return read_allowed(url, [str(root)], max_bytes, "here")


def test_a_file_below_the_folder_is_read(root: Path) -> None:
    url = (root / "deep" / "er" / "a b.png").as_uri()

    assert "%20" in url
    assert b"content" == read(root, url)
    assert b"content" == read(root, url.replace("file:///", "file://localhost/"))
    assert b"content" == read(root, f"file:{root}/deep/../deep/er/a b.png")


def test_a_link_within_the_folder_is_followed(root: Path) -> None:
    (root / "link").symlink_to(root / "deep" / "er")

    assert b"content" == read(root, f"file://{root}/link/a b.png")


def test_the_folder_may_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other-name").symlink_to(root)

    assert b"content" == read(tmp_path / "other-name", f"file://{root}/deep/er/a b.png")
    assert b"content" == read(root, f"file://{tmp_path}/other-name/deep/er/a b.png")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/deep/../../secret",
        "/%2e%2e/secret",
        "/link",
        "/linked/secret",
        "-not/file",
        "",
        "/",
        "/nothing/../../none",
    ],
)
def test_nothing_else_is(root: Path, path: str) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    (root / "linked").symlink_to(root.parent)

    with pytest.raises(RequestError) as refused:
        read(root, f"file://{root}{path}")
    assert "secret" not in refused.value.message


def test_without_a_setting_nothing_is_read(root: Path) -> None:
    with pytest.raises(Forbidden, match="file_roots"):
        read_allowed(f"file://{root}/deep/er/a b.png", (), 100, "here")


def test_a_link_that_is_put_there_while_we_look_is_not_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is looked at, and then opened: between the two it may change."""
    (root / "swapped").symlink_to(root.parent / "secret")
    monkeypatch.setattr(files.os.path, "realpath", os.path.abspath)

    with pytest.raises(RequestError):
        read(root, f"file://{root}/swapped")


def test_a_folder_that_is_swapped_for_a_link_is_not_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "swapped").symlink_to(root.parent)
    monkeypatch.setattr(files.os.path, "realpath", os.path.abspath)

    with pytest.raises(RequestError):
        read(root, f"file://{root}/swapped/secret")


def test_a_pipe_is_no_file_and_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")

    with pytest.raises(RequestError, match="not a file"):
        read(root, f"file://{root}/pipe")


def test_a_large_file_is_refused(root: Path) -> None:
    with pytest.raises(RequestTooLarge):
        read(root, f"file://{root}/deep/er/a b.png", max_bytes=6)


@pytest.mark.parametrize("url", ["file://elsewhere/x", "file:relative", "file:", "file:///a%00b"])
def test_what_names_no_file_of_this_machine_is_refused(root: Path, url: str) -> None:
    with pytest.raises(RequestError, match="file:///PATH"):
        read(root, url)
