"""What a decode process gives up on macOS, which is played here; tests/process has Linux."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from plugins.media import confinement


def test_macos_refuses_network_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox_init = Mock(return_value=0)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(sandbox_init=sandbox_init))

    confinement._enter_sandbox()

    profile, flags, _ = sandbox_init.call_args.args
    assert flags == 0
    assert all(b"(deny %b" % what in profile for what in (b"network*", b"process-exec*", b"process-fork"))
    # int sandbox_init(const char *profile, uint64_t flags, char **errorbuf)
    assert sandbox_init.argtypes == (ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_char_p))


def test_without_a_sandbox_pictures_are_decoded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())

    confinement._enter_sandbox()
