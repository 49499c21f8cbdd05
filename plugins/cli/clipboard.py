"""The picture in the clipboard, as bytes of a file. Decodes nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

# A program that shows nothing and answers at once, unless the clipboard's owner hangs.
TIMEOUT_S = 10.0
# What osascript prints: the bytes of a PNG in hexadecimal digits.
_PNG_DATA = re.compile(rb"\xc2\xabdata PNGf([0-9A-F]+)\xc2\xbb\s*")
_MACOS = ("osascript", "-e", "get the clipboard as \u00abclass PNGf\u00bb")
_WAYLAND = ("wl-paste", "--no-newline", "--type", "image")
_X11 = ("xclip", "-selection", "clipboard", "-target", "image/png", "-out")


class ClipboardError(Exception):
    """There is no picture to be had; the text says why, in one line."""


def paste_image() -> bytes:
    """The picture in the clipboard. Blocks: call it in a thread.

    Raises:
        ClipboardError: It holds none, or there is no clipboard.
    """
    command = _command()
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ClipboardError(f"{command[0]} did not answer within {TIMEOUT_S:g} s") from None
    except OSError as e:
        raise ClipboardError(f"{command[0]}: {e.strerror}") from None
    # All these programs fail when the clipboard has no picture; what they say then differs.
    if done.returncode != 0 or not done.stdout:
        raise ClipboardError("no picture in the clipboard")
    if command is not _MACOS:
        return done.stdout
    data = _PNG_DATA.fullmatch(done.stdout)
    if data is None:
        raise ClipboardError("no picture in the clipboard")
    return bytes.fromhex(data[1].decode("ascii"))


def _command() -> tuple[str, ...]:
    command: tuple[str, ...]
    if sys.platform == "darwin":
        return _MACOS
    if os.environ.get("WAYLAND_DISPLAY"):
        command, package = _WAYLAND, "wl-clipboard"
    elif os.environ.get("DISPLAY"):
        command, package = _X11, "xclip"
    else:
        raise ClipboardError("no clipboard here: neither WAYLAND_DISPLAY nor DISPLAY is set")
    if shutil.which(command[0]) is None:
        raise ClipboardError(f"{command[0]} is not installed; it is in the package {package}")
    return command
