"""Pixels on their way to a worker: a buffer of the message, or a file in a folder that both sides see.

A frontend writes the file and removes it when its request has ended; the kernel makes the frontend's folder
and removes it when the frontend is gone; a worker only reads. Nobody maps a file into memory: a file that is
cut short under a reader is an error then, and no signal that ends the process.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from transports.errors import InsufficientStorage, RemoteProtocolError
from transports.frames import Buffer, Frame, as_buffer
from transports.messages import FramePixels, Image, SharedPixels

NUM_CHANNELS = 3
# Nobody guesses 128 bits, and no two pictures get the same name.
NAME_BYTES = 16
FILE_NAME = re.compile(r"[0-9a-f]{32}")


class Picture(Protocol):
    """A decoded picture that is to be sent; see `Image`."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def pixels(self) -> bytes | str:
        """The pixels, or the name that `write_shared` gave."""
        ...


class Packed(NamedTuple):
    """Pictures as a submit takes them."""

    images: tuple[Image, ...]
    buffers: tuple[bytes, ...]


# --- the frontend ---------------------------------------------------------------------------------


def shared_folder(shared_dir: str, peer: str) -> str:
    """The folder of a frontend in `Welcome.shared_dir`; "" where nothing is shared.

    Args:
        shared_dir: `Welcome.shared_dir`.
        peer: The frontend's identity.
    """
    return str(Path(shared_dir, folder_name(peer))) if shared_dir else ""


def folder_name(peer: str) -> str:
    """The name of a frontend's folder: its identity in hexadecimal digits."""
    return peer.encode("latin-1").hex()


def new_file_name() -> str:
    """A name for a file of `write_shared`."""
    return secrets.token_hex(NAME_BYTES)


def write_shared(folder: str, pixels: Buffer, max_bytes: int, file_name: str = "") -> str:
    """Write pixels into a new file; also from another process than the frontend's own.

    The caller owns the file until it is named in a submit; from then on the submission removes it.

    Args:
        folder: As `shared_folder` gives it. It is not made here: without it the frontend's life is over.
        pixels: The whole content.
        max_bytes: Of all files in the folder together.
        file_name: From `new_file_name`, when another process must be able to remove the file should we die.

    Returns:
        The name for `SharedPixels`.

    Raises:
        InsufficientStorage: No room; nothing was left behind. The pixels can still go in the message.
    """
    name = file_name or new_file_name()
    try:
        if _num_bytes(folder) + len(pixels) > max_bytes:
            raise InsufficientStorage(f"shared pictures: over media.max_shared_bytes ({max_bytes})")
        file = Path(folder) / name
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, pixels)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    except OSError as e:
        raise InsufficientStorage(f"shared pictures: {e.strerror}") from None
    return f"{Path(folder).name}/{name}"


def remove_shared(folder: str, name: str) -> None:
    """Remove a file that `write_shared` made in *folder*, if it is still there."""
    # What cannot be removed goes with the folder.
    with contextlib.suppress(OSError):
        Path(folder, Path(name).name).unlink()


def shared_names(images: Iterable[Image]) -> tuple[str, ...]:
    """The files that *images* name, each once."""
    names = (image.pixels.name for image in images if isinstance(image.pixels, SharedPixels))
    return tuple(dict.fromkeys(names))


def pack(pictures: Sequence[Picture], max_frame_bytes: int) -> Packed:
    """Name the files of pictures in messages, and gather the pixels that have none; equal ones go once.

    Args:
        pictures: In the order of the request's images.
        max_frame_bytes: `Welcome.max_frame_bytes`.

    Raises:
        InsufficientStorage: A picture has no file and is too large for a message.
    """
    images: list[Image] = []
    buffers: dict[bytes, bytes] = {}
    for picture in pictures:
        where: FramePixels | SharedPixels
        if isinstance(picture.pixels, str):
            where = SharedPixels(name=picture.pixels)
        else:
            _check_frame(picture.pixels, max_frame_bytes)
            buffers.setdefault(picture.digest, picture.pixels)
            where = FramePixels(buffer=list(buffers).index(picture.digest))
        images.append(Image(width=picture.width, height=picture.height, digest=picture.digest, pixels=where))
    return Packed(tuple(images), tuple(buffers.values()))


def _check_frame(pixels: bytes, max_frame_bytes: int) -> None:
    if len(pixels) > max_frame_bytes:
        raise InsufficientStorage(
            f"image: its {len(pixels)} bytes of pixels found no room in shared memory "
            f"(media.max_shared_bytes) and are too many for a message ({max_frame_bytes}, "
            "kernel.max_frame_bytes); try again later or send a smaller picture"
        )


def _num_bytes(folder: str) -> int:
    num_bytes = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                num_bytes += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue  # Its request ended just now.
    return num_bytes


def _write_all(descriptor: int, pixels: Buffer) -> None:
    left = memoryview(pixels)
    while left:
        left = left[os.write(descriptor, left) :]


# --- the worker -----------------------------------------------------------------------------------


def read_pixels(
    images: Sequence[Image], buffers: Sequence[Frame], shared_dir: str, peer: str
) -> list[Buffer]:
    """Fetch the pixels of each image, from wherever they are; all sizes are right.

    The digest is not computed again: it costs more than the whole road, and frontends are let in by a token.

    Args:
        images: Of a request.
        buffers: The frames after its body.
        shared_dir: `Welcome.shared_dir`.
        peer: The frontend that sent it, as the kernel says.

    Returns:
        For each image its height * width * 3 bytes; images of one buffer or file share them.

    Raises:
        RemoteProtocolError: Buffer or file is not what the image says; a buffer that no image points at.
    """
    files: dict[str, bytes] = {}
    found: list[Buffer] = []
    for index, image in enumerate(images):
        what = f"images[{index}].pixels"
        num_bytes = image.height * image.width * NUM_CHANNELS
        match image.pixels:
            case FramePixels(buffer=number):
                if number >= len(buffers):
                    raise RemoteProtocolError(f"{what}: expected one of {len(buffers)} buffers, got {number}")
                pixels: Buffer = as_buffer(buffers[number])
            case SharedPixels(name=name):
                if name not in files:
                    files[name] = _read_shared(shared_dir, peer, name, num_bytes, what)
                pixels = files[name]
        if len(pixels) != num_bytes:
            raise RemoteProtocolError(f"{what}: expected {num_bytes} bytes, got {len(pixels)}")
        found.append(pixels)
    used = {image.pixels.buffer for image in images if isinstance(image.pixels, FramePixels)}
    if len(used) != len(buffers):
        raise RemoteProtocolError(f"submit: {len(buffers)} buffers, images point at {len(used)} of them")
    return found


def _read_shared(shared_dir: str, peer: str, name: str, num_bytes: int, what: str) -> bytes:
    folder, _, file = name.partition("/")
    if not shared_dir or folder != folder_name(peer) or not FILE_NAME.fullmatch(file):
        raise RemoteProtocolError(f"{what}: not the name of a file in the sender's shared folder")
    # Each step from the one before: no link on the way leads elsewhere.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        inside = os.open(Path(shared_dir, folder), flags | os.O_DIRECTORY)
        try:
            # A pipe must not keep us waiting for a writer.
            descriptor = os.open(file, flags | os.O_NONBLOCK, dir_fd=inside)
        finally:
            os.close(inside)
        try:
            return _read_all(descriptor, num_bytes, what)
        finally:
            os.close(descriptor)
    except OSError as e:
        raise RemoteProtocolError(f"{what}: the shared file cannot be read: {e.strerror}") from None


def _read_all(descriptor: int, num_bytes: int, what: str) -> bytes:
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
        raise RemoteProtocolError(f"{what}: expected a file of this user")
    if info.st_size != num_bytes:
        raise RemoteProtocolError(f"{what}: expected a file of {num_bytes} bytes, got {info.st_size}")
    # The system copies straight into the object: no second pass, and what is missing by now is a short read.
    return os.read(descriptor, num_bytes)
