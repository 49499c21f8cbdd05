"""The commands against a running kernel with echo workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_harness import Terminal, mlxd, processes_of, serving, serving_echoes

from transports import rundir


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An MLXD_HOME whose kernel runs, with the models that other tests have loaded."""
    with serving_echoes(tmp_path_factory.mktemp("served")) as home:
        yield home


# --- run --------------------------------------------------------------------------------------


def test_run_prints_the_answer_alone(served: Path) -> None:
    mlxd(served, "load", "echo/plain")

    done = mlxd(served, "run", "echo/plain", "two words")

    assert (done.returncode, done.stdout, done.stderr) == (0, "two words\n", "")


def test_run_reads_stdin_and_puts_the_argument_after_it(served: Path) -> None:
    assert mlxd(served, "run", "echo/plain", stdin="from stdin\n").stdout == "from stdin\n"
    assert mlxd(served, "run", "echo/plain", "argument", stdin="stdin\n").stdout == "stdin\n\nargument\n"


def test_run_as_json_is_one_object(served: Path) -> None:
    answer = json.loads(
        mlxd(served, "run", "echo/plain", "one two three", "--max-tokens", "2", "--json").stdout
    )

    assert (answer["text"], answer["finish_reason"]) == ("one two", "length")
    assert answer["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
    }
    assert {"model", "timings"} < set(answer)


def test_run_strips_control_sequences_unless_raw(served: Path) -> None:
    prompt = "\x1b]52;c;eA==\x07 \x1b[31mred"

    assert mlxd(served, "run", "echo/plain", prompt).stdout == " red\n"
    assert mlxd(served, "run", "echo/plain", prompt, "--raw").stdout == f"{prompt}\n"


def test_run_shows_thoughts_in_a_terminal_only(served: Path) -> None:
    prompt = "<think>hm hm</think>Yes."
    terminal = Terminal(served, "run", "echo/plain", prompt)
    as_json = Terminal(served, "run", "echo/plain", prompt, "--json")
    piped = mlxd(served, "run", "echo/plain", prompt)

    assert (terminal.end(), as_json.end()) == (0, 0)
    assert "hm hm\r\n\r\nYes.\r\n" in terminal.text
    assert "hm hm" not in as_json.text
    assert piped.stdout == "Yes.\n"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("--top-p", "3"), "'--top-p': expected a number, greater than 0 and at most 1, got \"3\""),
        (("--temperature", "nan"), "'--temperature': expected a number, 0 to 2, got \"nan\""),
        (("--max-tokens", "0"), "'--max-tokens': expected an integer, 1 to 2147483647, got \"0\""),
        (("--stop", ""), "'--stop': expected a text of 1 to 256 characters, got \"\""),
    ],
)
def test_run_names_a_wrong_flag_and_what_is_allowed(home: Path, args: tuple[str, ...], line: str) -> None:
    done = mlxd(home, "run", "echo/plain", "x", *args)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"Error: Invalid value for {line}\n")


def test_run_without_a_prompt_is_wrong_usage(home: Path) -> None:
    done = mlxd(home, "run", "echo/plain")

    assert (done.returncode, "no prompt" in done.stderr) == (2, True)


def test_run_with_bytes_that_are_no_text_is_wrong_usage(home: Path) -> None:
    done = mlxd(home, "run", "echo/plain", stdin=b"a\xff")

    assert (done.returncode, "stdin is not UTF-8" in done.stderr) == (2, True)


def test_run_with_an_unknown_model_is_one_line(served: Path) -> None:
    done = mlxd(served, "run", "echo/plian", "x")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert "echo/plain" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_request_that_fails_is_one_line(served: Path) -> None:
    mlxd(served, "load", "echo/faulty")

    done = mlxd(served, "run", "echo/faulty", "FAIL")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: failed as told\n")


def test_an_effort_of_a_model_that_never_thinks_is_refused_before_it_is_loaded(served: Path) -> None:
    done = mlxd(served, "run", "demo/smollm2-135m", "x", "--reasoning-effort", "low")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: reasoning_effort: demo/smollm2-135m never thinks")


def test_run_starts_a_kernel_for_itself_and_leaves_nothing(home: Path) -> None:
    done = mlxd(home, "run", "echo/plain", "alone")

    assert (done.returncode, done.stdout) == (0, "alone\n")
    assert processes_of(home) == []
    assert not rundir.locate(home).exists()


# --- listing ----------------------------------------------------------------------------------


def test_ps_lists_the_worker_of_a_loaded_model(served: Path) -> None:
    mlxd(served, "load", "echo/plain")

    (worker,) = (w for w in json.loads(mlxd(served, "ps", "--json").stdout) if w["model"] == "echo/plain")

    assert (worker["kind"], worker["state"]) == ("echo", "ready")
    assert worker["pid"] > 0
    lines = mlxd(served, "ps").stdout.splitlines()
    assert ["echo/plain", "echo", "ready"] in [line.split()[:3] for line in lines]


def test_unload_ends_the_worker(served: Path) -> None:
    mlxd(served, "load", "echo/plain")

    done = mlxd(served, "unload", "echo/plain")

    assert done.returncode == 0
    assert "echo/plain" not in mlxd(served, "ps").stdout


def test_unload_of_what_is_not_loaded_fails(served: Path) -> None:
    done = mlxd(served, "unload", "echo/slow")

    assert (done.returncode, done.stderr) == (1, "Error: echo/slow: not loaded\n")


def test_status_shows_the_kernel(served: Path) -> None:
    done = mlxd(served, "status")

    assert done.returncode == 0
    assert str(served) in done.stdout
    assert json.loads(mlxd(served, "status", "--json").stdout)["is_ready"] is True


def test_models_lists_what_the_catalog_knows(served: Path) -> None:
    names = {model["name"] for model in json.loads(mlxd(served, "models", "--json").stdout)}

    assert {"echo/plain", "echo/slow", "demo/smollm2-135m"} <= names
    assert mlxd(served, "models").stdout == mlxd(served, "models", "list").stdout


def test_models_show_tells_one_or_what_is_near(served: Path) -> None:
    assert "echo/plain" in mlxd(served, "models", "show", "echo/plain").stdout

    done = mlxd(served, "models", "show", "echo/plian")

    assert done.returncode == 1
    assert done.stderr.startswith("Error: echo/plian: no such model; did you mean echo/plain")


def test_models_works_without_a_running_kernel(home: Path) -> None:
    assert "echo/plain" in mlxd(home, "models").stdout
    assert processes_of(home) == []


def test_envs_lists_each_worker_kind(served: Path) -> None:
    kinds = {environment["kind"] for environment in json.loads(mlxd(served, "envs", "--json").stdout)}

    assert "text" in kinds


def test_plugins_lists_what_is_installed_and_how_it_is(home: Path) -> None:
    with serving(home, "--no-preload") as server:
        server.wait_until_ready()
        found = {one["name"]: one for one in json.loads(mlxd(home, "plugins", "--json").stdout)}

    for name in ("http", "cli", "stdio"):
        assert (found[name]["role"], found[name]["distribution"]) == ("frontend", "mlxd")
    assert (found["cli"]["state"], found["stdio"]["state"]) == ("attached", "installed")
    assert (found["echo"]["state"], found["text"]["state"]) == ("installed", "missing")


# --- without a kernel -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "out"),
    [
        (("ps",), 0, ""),
        (("ps", "--json"), 0, "[]\n"),
        (("ps", "--queue"), 0, ""),
        (("ps", "--queue", "--json"), 0, "[]\n"),
        (("status",), 3, ""),
        (("status", "--json"), 3, '{\n  "state": "stopped"\n}\n'),
        (("stop",), 0, ""),
        (("load", "echo/plain"), 1, ""),
        (("unload", "echo/plain"), 1, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_a_kernel_a_command_says_so(home: Path, args: tuple[str, ...], code: int, out: str) -> None:
    done = mlxd(home, *args)

    assert (code, out) == (done.returncode, done.stdout)
    assert ("--json" in args) or "o kernel is running" in done.stderr


# --- the rest ---------------------------------------------------------------------------------


def test_a_wrong_setting_is_one_line(home: Path) -> None:
    (home / "config.toml").write_text("[http]\nport = 70000\n")

    done = mlxd(home, "run", "echo/plain", "x")

    expected = f"Error: {home}/config.toml: http.port: expected an integer, 0 to 65535, got 70000\n"
    assert (2, expected) == (done.returncode, done.stderr)


def test_config_show_tells_where_a_value_comes_from(home: Path) -> None:
    (home / "config.toml").write_text("[http]\nport = 1\nstrict = true\n")

    settings = json.loads(mlxd(home, "config", "show", "--json", MLXD_HTTP_PORT="2").stdout)

    assert settings["http.port"] == {"value": 2, "source": "MLXD_HTTP_PORT"}
    assert {"value": True, "source": f"{home}/config.toml"} == settings["http.strict"]
    assert settings["http.host"] == {"value": "127.0.0.1", "source": "default"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(home: Path, shell: str) -> None:
    assert "_MLXD_COMPLETE" in mlxd(home, "completion", shell).stdout


def test_a_shell_completes_commands_and_models(served: Path) -> None:
    command = {"_MLXD_COMPLETE": "bash_complete", "COMP_CWORD": "2", "COMP_WORDS": "mlxd run echo/pl"}

    assert mlxd(served, **command).stdout == "plain,echo/plain\n"


def test_version_is_printed(home: Path) -> None:
    assert mlxd(home, "--version").stdout.startswith("mlxd ")
