"""Pixels come to the worker as they left the frontend, or not at all, whatever is done to their files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from transports.errors import InsufficientStorage, RemoteProtocolError
from transports.messages import FramePixels, Image, SharedPixels
from transports.pixels import (
    folder_name,
    pack,
    read_pixels,
    remove_shared,
    shared_folder,
    shared_names,
    write_shared,
)

PEER = "q5sX2cJ0dF7uH9bEwRtK4A"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Picture:
    """As the media intake gives it."""

    width: int
    height: int
    digest: bytes
    pixels: bytes | str


def picture(width: int, height: int, pixels: bytes | str) -> Picture:
    name = pixels.encode() if isinstance(pixels, str) else pixels
    return Picture(width, height, sha256(name).digest(), pixels)


def shared_image(name: str, width: int = 2, height: int = 1) -> Image:
    return Image(width=width, height=height, digest=bytes(32), pixels=SharedPixels(name=name))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A frontend's folder, as the kernel makes it."""
    path = Path(shared_folder(str(tmp_path), PEER))
    path.mkdir()
    return path


def read(folder: Path, *images: Image, buffers: Sequence[bytes] = ()) -> list[bytes]:
    found = read_pixels(images, buffers, str(folder.parent), PEER)
    return [bytes(pixels) for pixels in found]


# --- the good road --------------------------------------------------------------------------------


def test_pixels_arrive_in_the_order_of_the_images_however_they_travel(folder: Path) -> None:
    name = write_shared(str(folder), b"shared", MIB)

    packed = pack([picture(1, 2, b"frame1"), picture(2, 1, name), picture(2, 1, b"frame2")], MIB)

    assert read(folder, *packed.images, buffers=packed.buffers) == [b"frame1", b"shared", b"frame2"]


def test_equal_pictures_are_sent_once(folder: Path) -> None:
    packed = pack([picture(2, 1, b"equals"), picture(1, 1, b"odd"), picture(2, 1, b"equals")], MIB)

    assert packed.buffers == (b"equals", b"odd")
    assert read(folder, *packed.images, buffers=packed.buffers) == [b"equals", b"odd", b"equals"]


def test_images_may_share_a_file(folder: Path) -> None:
    name = write_shared(str(folder), b"shared", MIB)
    images = (shared_image(name, 2, 1), shared_image(name, 1, 2))

    assert read(folder, *images) == [b"shared", b"shared"]
    assert shared_names(images) == (name,)


def test_a_file_is_for_this_user_alone(folder: Path) -> None:
    write_shared(str(folder), b"shared", MIB)

    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_removed_file_is_gone_and_may_be_removed_again(folder: Path) -> None:
    name = write_shared(str(folder), b"shared", MIB)

    remove_shared(str(folder), name)
    remove_shared(str(folder), name)

    assert list(folder.iterdir()) == []


def test_removing_never_leaves_the_own_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()

    remove_shared(str(folder), "../precious")
    remove_shared(str(folder), str(tmp_path / "precious"))

    assert (tmp_path / "precious").exists()


def test_without_a_shared_folder_nothing_is_shared() -> None:
    assert shared_folder("", PEER) == ""


# --- no room --------------------------------------------------------------------------------------


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Files may have so many bytes: writing ends half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_nothing(folder: Path) -> None:
    with largest_file(MIB), pytest.raises(InsufficientStorage):
        write_shared(str(folder), bytes(3 * MIB), 10 * MIB)

    assert list(folder.iterdir()) == []


def test_all_files_of_a_frontend_have_one_budget(folder: Path) -> None:
    write_shared(str(folder), bytes(60), 100)

    with pytest.raises(InsufficientStorage, match=r"media\.max_shared_bytes"):
        write_shared(str(folder), bytes(41), 100)

    write_shared(str(folder), bytes(40), 100)
    assert len(list(folder.iterdir())) == 2


def test_a_frontend_that_the_kernel_has_forgotten_can_write_nothing(folder: Path) -> None:
    folder.rmdir()

    with pytest.raises(InsufficientStorage):
        write_shared(str(folder), b"shared", MIB)

    assert not folder.exists()


def test_a_picture_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(InsufficientStorage, match=r"kernel\.max_frame_bytes"):
        pack([picture(2, 1, b"frames")], 5)


# --- lies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../precious",
        f"../{folder_name(PEER)}/" + "0" * 32,
        "/etc/hostname",
        "{mine}/../{mine}/{file}",
        "{mine}//{file}",
        "{mine}/./{file}",
        "/{mine}/{file}",
        "{mine}/{file}/",
        "{mine}/{file}\0",
        "{mine}/{file}\n",
        "{mine}/..",
        "{mine}",
        "{file}",
        "{mine}/short",
        "{theirs}/{file}",
    ],
)
def test_a_name_that_is_no_file_of_the_sender_is_refused(folder: Path, name: str) -> None:
    file = write_shared(str(folder), b"shared", MIB).partition("/")[2]
    theirs = folder.parent / folder_name("somebody else")
    theirs.mkdir()
    (theirs / file).write_bytes(b"secret")
    (folder.parent / "precious").write_bytes(b"secret")
    named = name.format(mine=folder.name, theirs=theirs.name, file=file)

    with pytest.raises(RemoteProtocolError, match="not the name of a file"):
        read(folder, shared_image(named))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("link", "cannot be read"),
        ("directory", "expected a file of this user"),
        ("pipe", "expected a file of this user"),
        ("missing", "cannot be read"),
    ],
)
def test_only_a_file_is_read(folder: Path, kind: str, what: str) -> None:
    """A pipe without a writer would keep the reader waiting for ever."""
    secret = folder.parent / "secret"
    secret.write_bytes(b"secret")
    path = folder / ("a" * 32)
    match kind:
        case "link":
            path.symlink_to(secret)
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)

    with pytest.raises(RemoteProtocolError, match=what):
        read(folder, shared_image(f"{folder.name}/{path.name}"))


def test_a_folder_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    name = write_shared(str(folder), b"secret", MIB)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        read(folder, shared_image(name))


@pytest.mark.parametrize("num_bytes", [0, 5, 7])
def test_a_file_of_another_size_is_refused(folder: Path, num_bytes: int) -> None:
    name = write_shared(str(folder), bytes(num_bytes), MIB)

    with pytest.raises(RemoteProtocolError, match=f"expected a file of 6 bytes, got {num_bytes}"):
        read(folder, shared_image(name))


def test_a_file_that_is_cut_short_while_it_is_read_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped into memory it would be SIGBUS, the end of the worker."""
    name = write_shared(str(folder), b"shared", MIB)
    real_read = os.read

    def cut_and_read(descriptor: int, num_bytes: int) -> bytes:
        os.truncate(folder.parent / name, 3)
        return real_read(descriptor, num_bytes)

    monkeypatch.setattr(os, "read", cut_and_read)

    with pytest.raises(RemoteProtocolError, match="expected 6 bytes, got 3"):
        read(folder, shared_image(name))


def test_images_of_one_file_must_both_fit_it(folder: Path) -> None:
    name = write_shared(str(folder), b"shared", MIB)

    with pytest.raises(RemoteProtocolError, match=r"images\[1\]"):
        read(folder, shared_image(name, 2, 1), shared_image(name, 3, 1))


@pytest.mark.parametrize(
    ("number", "buffers", "what"),
    [
        (1, [b"frames"], "expected one of 1 buffers, got 1"),
        (0, [], "expected one of 0 buffers"),
        (0, [b"short"], "expected 6 bytes, got 5"),
        (0, [b"too long"], "expected 6 bytes, got 8"),
        (0, [b"frames", b"unused"], "2 buffers, images point at 1"),
    ],
)
def test_buffers_are_what_the_images_say(folder: Path, number: int, buffers: list[bytes], what: str) -> None:
    image = Image(width=2, height=1, digest=bytes(32), pixels=FramePixels(buffer=number))

    with pytest.raises(RemoteProtocolError, match=what):
        read(folder, image, buffers=buffers)


def test_a_worker_without_a_shared_folder_reads_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    name = write_shared(str(folder), b"shared", MIB)

    with pytest.raises(RemoteProtocolError):
        read_pixels([shared_image(name)], [], "", PEER)
