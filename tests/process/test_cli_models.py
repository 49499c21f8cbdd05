"""Models removed, and workers that stay down, as a person at a terminal sees them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from cli_harness import Terminal, mlxd, serving

KILLED = "signal 9 (SIGKILL), as the system sends when memory runs out"


def test_rm_asks_on_a_terminal(home: Path) -> None:
    terminal = Terminal(home, "models", "rm", "echo/plain")
    terminal.wait_for("Remove echo/plain (0 B, ")
    terminal.wait_for("[y/N]")
    terminal.press("n\r")
    assert terminal.end() == 130
    assert (home / "models/echo/plain").exists()

    terminal = Terminal(home, "models", "rm", "echo/plain")
    terminal.wait_for("[y/N]")
    terminal.press("y\r")
    terminal.wait_for("Removed echo/plain")
    assert terminal.end() == 0
    assert not (home / "models/echo/plain").exists()


def test_rm_without_a_terminal_wants_yes(home: Path) -> None:
    done = mlxd(home, "models", "rm", "echo/plain")
    assert done.returncode == 2
    assert "--yes removes it" in done.stderr

    assert mlxd(home, "models", "rm", "echo/plain", "--yes").returncode == 0
    assert "echo/plain" not in mlxd(home, "models").stdout


def test_rm_refuses_what_is_in_memory_unless_forced(home: Path) -> None:
    with serving(home, "--no-preload") as server:
        server.wait_until_ready()
        mlxd(home, "load", "echo/plain")

        refused = mlxd(home, "models", "rm", "echo/plain", "--yes")
        assert (refused.returncode, "in memory" in refused.stderr) == (1, True)
        assert (home / "models/echo/plain").exists()

        assert mlxd(home, "models", "rm", "echo/plain", "--yes", "--force").returncode == 0
        assert not (home / "models/echo/plain").exists()
        assert json.loads(mlxd(home, "ps", "--json").stdout) == []


def test_status_says_why_a_worker_is_down_and_when_it_is_tried_again(home: Path) -> None:
    with serving(home, "--no-preload", MLXD_KERNEL_MAX_CRASHES="1") as server:
        server.wait_until_ready()
        for _ in range(2):
            mlxd(home, "load", "echo/plain")
            (worker,) = json.loads(mlxd(home, "ps", "--json").stdout)
            os.kill(worker["pid"], signal.SIGKILL)

        text = mlxd(home, "status").stdout
        assert f"echo/plain is crash-looped: {KILLED}; next try in 4 min" in text
        assert "at once with `mlxd load echo/plain`" in text
        (worker,) = json.loads(mlxd(home, "status", "--json").stdout)["workers"]
        assert (worker["state"], worker["memory_bytes"]) == ("crash-looped", 0)
        assert worker["error"] == KILLED
        assert 290 < worker["retry_in_s"] <= 300
        assert worker["last_words"] == []

        refused = mlxd(home, "run", "echo/plain", "x")
        assert f"its worker ends again and again ({KILLED}); it is tried again in" in refused.stderr
        mlxd(home, "load", "echo/plain")
        assert mlxd(home, "run", "echo/plain", "x").stdout == "x\n"


def test_a_model_answers_by_an_alias_and_with_its_own_defaults(home: Path) -> None:
    (home / "config.toml").write_text(
        '[models.aliases]\n"gpt-4o" = "echo/plain"\n[models.options."echo/plain"]\nmax_tokens = 2\n'
    )

    answer = json.loads(mlxd(home, "run", "gpt-4o", "one two three", "--json").stdout)

    assert (answer["model"], answer["text"], answer["finish_reason"]) == ("gpt-4o", "one two", "length")
    assert mlxd(home, "run", "gpt-4o", "one two three", "--max-tokens", "3").stdout == "one two three\n"
    assert "alias of echo/plain" in mlxd(home, "models").stdout


def test_pull_refuses_what_no_hub_has_before_anything_runs(home: Path) -> None:
    wrong = mlxd(home, "pull", "../etc")
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "Error: repository: expected OWNER/NAME as on the hub, got '../etc'\n",
    )

    without = mlxd(home, "pull", "a/b", MLXD_MODELS_HUB_CACHE="false")
    assert (without.returncode, "needs models.hub_cache = true" in without.stderr) == (1, True)
