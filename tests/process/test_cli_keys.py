"""`mlxd keys`, and a server that asks for them."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from pathlib import Path

from cli_harness import mlxd, serving


def status(port: int, secret: str = "") -> int:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/models", headers=headers)
    answer = connection.getresponse()
    connection.close()
    return answer.status


def test_a_key_is_shown_once_and_listed_by_name(home: Path) -> None:
    made = mlxd(home, "keys", "new", "ann", "--model", "a/b", "--priority", "low", "--rate", "7", "--admin")
    secret = made.stdout.strip()
    again = mlxd(home, "keys", "new", "ann")
    listed = mlxd(home, "keys", "list")
    (key,) = json.loads(mlxd(home, "keys", "list", "--json").stdout)

    assert (made.returncode, secret[:5]) == (0, "mlxd-")
    assert (again.returncode, "there is such a key" in again.stderr) == (2, True)
    assert listed.stdout.splitlines()[1].split()[:5] == ["ann", "admin", "a/b", "low", "7/min"]
    assert (key["name"], key["models"], key["max_priority"]) == ("ann", ["a/b"], "low")
    assert secret not in listed.stdout + (home / "keys.json").read_text()
    assert mlxd(home, "keys", "revoke", "bob").returncode == 2
    assert mlxd(home, "keys", "revoke", "ann").returncode == 0
    assert json.loads(mlxd(home, "keys", "list", "--json").stdout) == []


def test_a_server_opens_to_the_network_with_a_key_and_not_for_a_revoked_one(home: Path) -> None:
    more = {"MLXD_KERNEL_FRONTENDS": "http", "MLXD_HTTP_HOST": "0.0.0.0", "MLXD_HTTP_PORT": "0"}
    refused = mlxd(home, "serve", "--no-preload", **more)
    secret = mlxd(home, "keys", "new", "ann").stdout.strip()
    with serving(home, "--no-preload", **more) as server:
        port = int(server.wait_until_ready().rpartition(":")[2])
        before = status(port), status(port, secret)
        mlxd(home, "keys", "revoke", "ann")
        after = status(port, secret)

    assert refused.returncode == 1
    assert "needs an API key: `mlxd keys new NAME`" in refused.stderr
    assert (before, after) == ((401, 200), 401)
