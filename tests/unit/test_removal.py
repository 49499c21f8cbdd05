"""Models removed from the disk: those, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.catalog import Catalog
from kernel.isolation import package_dir
from kernel.pull import lock_path
from kernel.removal import remove
from transports.errors import NotFound, RequestError
from transports.filelock import locked


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A model that is none of mlxd's business."""
    return echo(tmp_path / "elsewhere/precious")


def echo(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "echo"}')
    return folder


def revision(hub: Path, commit: str, ref: str, **blobs: str) -> Path:
    """A revision of org/model: file -> blob, of as many bytes as its name has."""
    repository = hub / "models--org--model"
    snapshot = repository / "snapshots" / (commit * 40)
    snapshot.mkdir(parents=True)
    for folder in ("blobs", "refs"):
        (repository / folder).mkdir(exist_ok=True)
    (repository / "refs" / ref).write_text(commit * 40)
    for file, blob in {"config": "echo", **blobs}.items():
        content = '{"model_type": "echo"}' if blob == "echo" else blob
        (repository / "blobs" / blob).write_text(content)
        (snapshot / f"{file}.json").symlink_to(Path("../../blobs") / blob)
    return snapshot


async def rm(name: str, home: Path, hub: Path, *paths: Path) -> int:
    catalog = Catalog(home, paths, hub_cache=True)
    catalog.scan()
    entry = catalog.entry(name)
    assert entry, f"{name} is not listed"
    return await remove(entry, home / "models", hub)


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if ".locks" not in path.parts)


async def test_a_model_in_the_folder_of_mlxd_is_gone_and_its_owner_too(tmp_path: Path, hub: Path) -> None:
    echo(tmp_path / "models/owner/mine")
    echo(tmp_path / "models/other/stays")

    freed_bytes = await rm("owner/mine", tmp_path, hub)

    assert freed_bytes == len('{"model_type": "echo"}')
    assert left(tmp_path / "models") == ["other", "other/stays", "other/stays/config.json"]


async def test_of_a_link_only_the_link_goes(tmp_path: Path, hub: Path, elsewhere: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine").symlink_to(elsewhere)

    assert await rm("mine", tmp_path, hub) == 0

    assert left(tmp_path / "models") == []
    assert (elsewhere / "config.json").exists()


async def test_links_inside_a_model_are_not_followed(tmp_path: Path, hub: Path, elsewhere: Path) -> None:
    folder = echo(tmp_path / "models/mine")
    (folder / "more").symlink_to(elsewhere)
    (folder / "file.json").symlink_to(elsewhere / "config.json")

    await rm("mine", tmp_path, hub)

    assert (elsewhere / "config.json").exists()


async def test_what_is_behind_a_link_is_refused(tmp_path: Path, hub: Path, elsewhere: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/owner").symlink_to(elsewhere.parent)

    with pytest.raises(RequestError, match="a link that leads elsewhere"):
        await rm("owner/precious", tmp_path, hub)
    assert (elsewhere / "config.json").exists()


async def test_a_folder_of_the_users_is_refused(tmp_path: Path, hub: Path, elsewhere: Path) -> None:
    with pytest.raises(RequestError, match="a folder of yours"):
        await rm("precious", tmp_path, hub, elsewhere.parent)
    assert (elsewhere / "config.json").exists()


async def test_what_is_part_of_mlxd_is_refused(tmp_path: Path, hub: Path) -> None:
    with pytest.raises(RequestError, match="part of mlxd"):
        await rm("demo/tiny-vl", tmp_path, hub)
    assert (package_dir("workers") / "vision/tiny_vl/model/config.json").exists()


async def test_a_demo_that_is_not_here_cannot_go(tmp_path: Path, hub: Path) -> None:
    with pytest.raises(NotFound, match="not on this disk"):
        await rm("demo/smollm2-135m", tmp_path, hub)


async def test_a_revision_takes_what_no_other_uses(tmp_path: Path, hub: Path) -> None:
    revision(hub, "a", "main", both="shared", mine="main-only")
    revision(hub, "b", "v2", both="shared", mine="v2")

    freed_bytes = await rm("org/model", tmp_path, hub)

    assert freed_bytes == len("main-only")
    repository = hub / "models--org--model"
    assert sorted(path.name for path in (repository / "blobs").iterdir()) == ["echo", "shared", "v2"]
    assert [path.name for path in (repository / "snapshots").iterdir()] == ["b" * 40]
    assert [path.name for path in (repository / "refs").iterdir()] == ["v2"]


async def test_the_last_revision_takes_its_repository_along(tmp_path: Path, hub: Path) -> None:
    revision(hub, "a", "main")
    (hub / "models--org--model/blobs/0.incomplete").write_text("half")
    (hub / "models--org--other").mkdir()

    freed_bytes = await rm("org/model", tmp_path, hub)

    assert freed_bytes > len("half")
    assert left(hub) == ["models--org--other"]


async def test_a_pull_that_was_broken_off_can_be_removed(tmp_path: Path, hub: Path) -> None:
    blobs = hub / "models--org--model/blobs"
    blobs.mkdir(parents=True)
    (blobs / "0.incomplete").write_text("half")

    assert await rm("org/model", tmp_path, hub) == 4
    assert left(hub) == []


async def test_blobs_behind_a_link_are_refused(tmp_path: Path, hub: Path, elsewhere: Path) -> None:
    revision(hub, "a", "main")
    repository = hub / "models--org--model"
    (repository / "blobs").rename(elsewhere.parent / "blobs")
    (repository / "blobs").symlink_to(elsewhere.parent / "blobs")

    with pytest.raises(RequestError, match="a link that leads elsewhere"):
        await rm("org/model", tmp_path, hub)
    assert (elsewhere.parent / "blobs/echo").exists()


async def test_a_repository_that_is_a_link_loses_the_link(tmp_path: Path, hub: Path) -> None:
    revision(tmp_path / "disk", "a", "main")
    hub.mkdir()
    (hub / "models--org--model").symlink_to(tmp_path / "disk/models--org--model")

    assert await rm("org/model", tmp_path, hub) == 0

    assert left(hub) == []
    assert (tmp_path / "disk/models--org--model/blobs/echo").exists()


async def test_what_is_being_pulled_is_refused(tmp_path: Path, hub: Path) -> None:
    revision(hub, "a", "main")

    async with locked(lock_path(hub / "models--org--model"), timeout_s=1):
        with pytest.raises(RequestError, match="being pulled"):
            await rm("org/model", tmp_path, hub)
