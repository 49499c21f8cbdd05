"""What a client may read of a library's words."""

from __future__ import annotations

import pytest

from transports.redaction import redacted


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no such file: '/home/ann/x/lib.so'", "no such file: 'lib.so'"),
        ("/home/ann/y.py:12: Warning", "y.py:12: Warning"),
        ("<Array at 0x7f12ab34cd56>", "<Array at 0x...>"),
        # No folders of this machine.
        ("Model type ../../evil not supported", "Model type ../../evil not supported"),
        ("see ~/.cache/x and https://example.org/x/", "see ~/.cache/x and https://example.org/x/"),
        ("3/4 of a/b, and $HOME/c/d", "3/4 of a/b, and $HOME/c/d"),
    ],
)
def test_folders_and_addresses_are_left_out(said: str, told: str) -> None:
    assert redacted(said) == told
