"""The picture in the clipboard, from programs that are played by scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plugins.cli.clipboard import ClipboardError, paste_image

PNG = b"\x89PNG\r\n\x1a\n\xff\x00"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing in it, on Linux, outside of any desktop."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return tmp_path


def program(folder: Path, name: str, *, prints: bytes = b"", code: int = 0) -> None:
    """A program that prints its arguments into a file, and these bytes on stdout."""
    (folder / "output").write_bytes(prints)
    file = folder / name
    file.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\n/bin/cat {folder}/output\nexit {code}\n')
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("variable", "name", "arguments"),
    [
        ("WAYLAND_DISPLAY", "wl-paste", "--no-newline --type image"),
        ("DISPLAY", "xclip", "-selection clipboard -target image/png -out"),
    ],
)
def test_the_desktops_own_program_is_asked_for_a_picture(
    programs: Path, monkeypatch: pytest.MonkeyPatch, variable: str, name: str, arguments: str
) -> None:
    monkeypatch.setenv(variable, ":0")
    program(programs, name, prints=PNG)

    assert paste_image() == PNG
    assert (programs / "arguments").read_text().strip() == arguments


def test_macos_prints_it_in_hexadecimal_digits(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    program(programs, "osascript", prints=f"\u00abdata PNGf{PNG.hex().upper()}\u00bb\n".encode())

    assert paste_image() == PNG


@pytest.mark.parametrize(("prints", "code"), [(b"", 0), (b"Nothing is copied", 1)])
def test_an_empty_clipboard_is_told(
    programs: Path, monkeypatch: pytest.MonkeyPatch, prints: bytes, code: int
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    program(programs, "wl-paste", prints=prints, code=code)

    with pytest.raises(ClipboardError, match="no picture in the clipboard"):
        paste_image()


def test_text_in_the_clipboard_of_macos_is_no_picture(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    program(programs, "osascript", prints=b"some text\n")

    with pytest.raises(ClipboardError, match="no picture in the clipboard"):
        paste_image()


def test_a_missing_program_is_named_with_its_package(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")

    with pytest.raises(ClipboardError, match="wl-paste is not installed; it is in the package wl-clipboard"):
        paste_image()


def test_without_a_desktop_there_is_no_clipboard(programs: Path) -> None:
    with pytest.raises(ClipboardError, match="neither WAYLAND_DISPLAY nor DISPLAY"):
        paste_image()


def test_a_program_that_hangs_is_ended(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("plugins.cli.clipboard.TIMEOUT_S", 0.1)
    (programs / "xclip").write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    (programs / "xclip").chmod(0o755)

    with pytest.raises(ClipboardError, match="xclip did not answer within"):
        paste_image()
