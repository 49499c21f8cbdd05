"""The kernel's shared folder: empty when it starts, gone when it ends, a folder for each frontend between."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from kernel_world import World

from kernel import shared_folder
from kernel.actions import Action, MakeFolder, RemoveFolder, Send
from kernel.events import PeerUnreachable
from kernel.shared_folder import SharedFolder
from transports.codec import decode_body
from transports.errors import ConfigError
from transports.messages import Welcome
from transports.pixels import folder_name
from transports.settings import KernelSettings


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory, and a place in memory that is none."""
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(shared_folder, "MEMORY", memory)
    path = tmp_path / "run"
    path.mkdir()
    return path


linux = pytest.mark.skipif(sys.platform != "linux", reason="no /dev/shm")


@linux
def test_it_is_in_memory_and_for_this_user_alone(run_dir: Path) -> None:
    folder = SharedFolder(run_dir)

    assert folder.path.parent == shared_folder.MEMORY
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_without_a_place_in_memory_it_is_in_the_run_directory(run_dir: Path) -> None:
    shared_folder.MEMORY.rmdir()

    folder = SharedFolder(run_dir)

    assert folder.path == run_dir / "shared"
    folder.close()


@linux
def test_a_link_that_somebody_put_there_is_not_followed(run_dir: Path) -> None:
    folder = SharedFolder(run_dir)
    folder.close()
    precious = run_dir.parent / "precious"
    (precious / "inside").mkdir(parents=True)
    folder.path.symlink_to(precious)

    again = SharedFolder(run_dir)

    assert again.path == run_dir / "shared"
    assert (precious / "inside").exists()
    again.close()


@linux
def test_a_folder_that_a_kernel_elsewhere_uses_is_left_to_it(run_dir: Path) -> None:
    """Containers may share /dev/shm; each has a run directory of the same name."""
    theirs = SharedFolder(run_dir)
    theirs.add("frontend")

    ours = SharedFolder(run_dir)

    assert ours.path == run_dir / "shared"
    assert (theirs.path / folder_name("frontend")).is_dir()
    ours.close()
    theirs.close()


def test_nowhere_to_put_it_ends_the_kernel_with_the_reason(run_dir: Path) -> None:
    shared_folder.MEMORY.rmdir()
    (run_dir / "shared").touch()

    with pytest.raises(ConfigError, match="shared"):
        SharedFolder(run_dir)


def test_what_a_killed_kernel_left_is_swept_at_the_start(run_dir: Path) -> None:
    folder = SharedFolder(run_dir)
    folder.add("frontend")
    (folder.path / folder_name("frontend") / "file").write_bytes(b"pixels")
    shutil.copytree(folder.path, run_dir.parent / "left")
    folder.close()
    shutil.move(run_dir.parent / "left", folder.path)

    folder.path.chmod(0o777)

    again = SharedFolder(run_dir)

    assert list(again.path.iterdir()) == []
    assert again.path.stat().st_mode & 0o777 == 0o700
    again.close()


@linux
def test_what_kernels_of_other_homes_left_in_memory_is_swept_too(run_dir: Path) -> None:
    """Their homes may be gone. One that lives keeps its folder."""
    living, dead = SharedFolder(run_dir / "living"), SharedFolder(run_dir / "dead")
    living.add("frontend")
    dead.add("frontend")
    os.close(dead._lock)  # As the system does when a process is killed.

    folder = SharedFolder(run_dir)

    assert sorted(shared_folder.MEMORY.iterdir()) == sorted([folder.path, living.path])
    assert (living.path / folder_name("frontend")).is_dir()
    folder.close()
    living.close()


def test_nothing_is_left_at_the_end(run_dir: Path) -> None:
    folder = SharedFolder(run_dir)
    folder.add("frontend")
    (folder.path / folder_name("frontend") / "file").write_bytes(b"pixels")

    folder.close()

    assert not folder.path.exists()


def test_a_dropped_folder_is_out_of_reach_at_once(run_dir: Path) -> None:
    """Removing its files takes a while; meanwhile the same frontend may come again."""
    folder = SharedFolder(run_dir)
    folder.add("frontend")
    (folder.path / folder_name("frontend") / "file").write_bytes(b"pixels")

    gone = folder.drop("frontend")
    folder.add("frontend")

    assert gone is not None
    assert (gone / "file").exists()
    assert list((folder.path / folder_name("frontend")).iterdir()) == []
    folder.close()


def test_dropping_a_folder_that_is_gone_is_no_error(run_dir: Path) -> None:
    folder = SharedFolder(run_dir)

    assert folder.drop("nobody") is None
    folder.close()


# --- when -----------------------------------------------------------------------------------------


def of_folders(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, MakeFolder | RemoveFolder)]


def test_a_frontend_finds_its_folder_when_it_is_welcomed() -> None:
    world = World()
    peer = world.frontend()

    sent = [action for action in world.actions if isinstance(action, Send)]
    made = world.actions.index(MakeFolder(peer))
    assert made < world.actions.index(sent[0])
    assert decode_body(world.inbox[peer][0].body, Welcome).shared_dir == "/shared"


def test_a_frontend_that_says_bye_loses_its_folder() -> None:
    world = World()
    peer = world.frontend()

    world.bye(peer)

    assert of_folders(world.actions) == [MakeFolder(peer), RemoveFolder(peer)]


def test_a_silent_frontend_loses_its_folder() -> None:
    world = World(automatic=False)
    peer = world.frontend()

    world.advance(10)

    assert of_folders(world.actions) == [MakeFolder(peer), RemoveFolder(peer)]


def test_a_frontend_that_cannot_be_reached_loses_its_folder() -> None:
    world = World()
    peer = world.frontend()

    world.feed(PeerUnreachable(peer, "gone"))

    assert of_folders(world.actions) == [MakeFolder(peer), RemoveFolder(peer)]


def test_a_frontend_process_that_dies_loses_its_folder() -> None:
    world = World(settings=KernelSettings(frontends=("http",)), automatic=False)
    peer = world.hello_frontend("frontend:http")

    world.die("frontend:http")

    assert of_folders(world.actions) == [MakeFolder(peer), RemoveFolder(peer)]


def test_a_frontend_process_that_dies_before_its_hello_touches_no_folder() -> None:
    world = World(settings=KernelSettings(frontends=("http",)), automatic=False)

    world.die("frontend:http")

    assert of_folders(world.actions) == []


def test_a_second_life_begins_with_an_empty_folder() -> None:
    world = World()
    peer = world.frontend()

    world.say_hello(peer)

    assert of_folders(world.actions) == [MakeFolder(peer), RemoveFolder(peer), MakeFolder(peer)]


def test_workers_have_no_folder() -> None:
    world = World("echo/a", preload=("echo/a",))

    assert world.workers
    assert of_folders(world.actions) == []
