"""A port that cannot be had is told before anything is started."""

from __future__ import annotations

import os
import socket

import pytest

from plugins.cli.port import check_port
from transports.errors import ConfigError, PluginError


def test_a_free_port_is_fine() -> None:
    check_port("127.0.0.1", 0)


@pytest.mark.parametrize("listening_on", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_names_its_owner(listening_on: str) -> None:
    with socket.create_server((listening_on, 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(PluginError) as caught:
            check_port("127.0.0.1", port)

    assert caught.value.message.startswith(f"http.port: {port} is in use by ")
    assert f"(pid {os.getpid()})" in caught.value.message


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a b", "x" * 100])
def test_an_address_of_nobody_here_is_a_setting_s_fault(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^http.host: "):
        check_port(host, 0)
