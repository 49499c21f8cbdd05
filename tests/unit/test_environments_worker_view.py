"""What a worker gets to see, and how uv's settings, progress and errors are read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import workers
from kernel.environment_build import environment_name
from kernel.environments import Environments
from kernel.isolation import LinkDirs, hub_environment, package_dir, worker_environment
from kernel.uv import Downloads, explain, uv_environment
from kernel.worker_kinds import WorkerKinds
from transports.errors import ConfigError, NotFound


def test_tokens_and_keys_do_not_reach_workers() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "HF_TOKEN": "x",
        "OPENAI_API_KEY": "x",
        "MLX_TOKEN": "x",
        "UV_DEFAULT_INDEX": "x",
        "PIP_INDEX_URL": "x",
        "PYTHONPATH": "/somewhere",
        "LD_PRELOAD": "x.so",
        "HF_HUB_OFFLINE": "0",
    }

    seen = worker_environment(environ)
    assert {"PATH", "LC_ALL", "OMP_NUM_THREADS"} == set(environ) & set(seen) - {"HF_HUB_OFFLINE"}
    assert seen["HF_HUB_OFFLINE"] == "1"


def test_only_what_fetches_from_the_hub_gets_its_token() -> None:
    environ = {
        "HF_TOKEN": "x",
        "HF_ENDPOINT": "http://hub",
        "https_proxy": "http://proxy",
        "OPENAI_API_KEY": "x",
    }

    seen = hub_environment(environ)

    assert {"HF_TOKEN", "HF_ENDPOINT", "https_proxy"} == set(environ) & set(seen)
    assert "HF_HUB_OFFLINE" not in seen
    assert hub_environment({"HF_HUB_OFFLINE": "1"})["HF_HUB_OFFLINE"] == "1"


def test_libraries_give_no_advice_in_a_workers_last_words() -> None:
    """transformers warned of long prompts, and a crash an hour later was told with that warning."""
    assert worker_environment({"TRANSFORMERS_VERBOSITY": "info"})["TRANSFORMERS_VERBOSITY"] == "error"


def test_a_worker_finds_workers_and_transports_and_nothing_else_of_ours(tmp_path: Path) -> None:
    link_dir = LinkDirs(tmp_path).make("text", {})
    code = (
        "import importlib.util as u\n"
        "print([n for n in ('workers', 'transports', 'kernel', 'plugins') if u.find_spec(n)])\n"
    )
    env = worker_environment(os.environ) | {"PYTHONPATH": str(link_dir)}
    # -S: no site-packages, as in a worker's environment that has none of ours.
    found = subprocess.run([sys.executable, "-P", "-S", "-c", code], env=env, capture_output=True, check=True)

    assert found.stdout.decode().strip() == "['workers', 'transports']"


def test_links_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "packages/text").mkdir(parents=True)
    (tmp_path / "packages/text/workers").symlink_to("/nowhere")

    assert (LinkDirs(tmp_path).make("text", {}) / "workers").resolve() == Path(workers.__path__[0]).resolve()


def test_packages_are_found_without_importing_them() -> None:
    code = (
        "import sys\n"
        "from kernel.isolation import package_dir\n"
        "package_dir('workers')\n"
        "print('workers' in sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)

    assert found.stdout.decode().strip() == "False"
    with pytest.raises(ConfigError, match="no_such_package"):
        package_dir("no_such_package")


def test_the_name_of_an_environment_follows_its_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n")
    first = environment_name("text", lock)
    lock.write_text("a==2\n")

    assert first != environment_name("text", lock)
    assert first.startswith("text-")
    assert len(first) == len("text-") + 12


def test_a_kind_without_a_lock_runs_in_our_own_python(tmp_path: Path) -> None:
    kinds = WorkerKinds({"echo": WorkerKinds.installed()["echo"]})
    environments = Environments(tmp_path, kinds, LinkDirs(tmp_path))

    assert environments.python("echo") == Path(sys.executable)
    assert environments.list() == ()
    with pytest.raises(NotFound, match="kind 'sound': not known; there are: echo"):
        environments.python("sound")


@pytest.mark.parametrize("kind", ["text", "vision"])
def test_a_kind_has_a_lock_with_hashes_and_no_addresses(tmp_path: Path, kind: str) -> None:
    environments = Environments(tmp_path, WorkerKinds.installed(), LinkDirs(tmp_path))
    lock = (package_dir("workers") / kind / "requirements.lock").read_text()

    assert {one.state for one in environments.list()} == {"missing"}
    assert "--hash=sha256:" in lock
    for word in ("://", "--index", "--find-links", "file:"):
        assert word not in lock


def test_download_progress_is_bytes_done_over_bytes_announced() -> None:
    downloads = Downloads()
    lines = ["Downloading a (1.0MiB)", "Downloading b (3.0MiB)", " Downloaded a", "Downloading c (512.0KiB)"]
    seen = [downloads.fraction for line in lines if downloads.feed(line)]
    assert seen == [0.0, 0.0, 0.25, 0.25]

    assert not downloads.feed("Resolved 48 packages in 455ms")
    assert downloads.feed(" Downloaded b")
    assert downloads.feed(" Downloaded c")
    assert downloads.fraction == 1.0


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ("error: Request failed", "  cause: Failed to fetch: x", "  cause: Connection refused."),
            "Request failed: Connection refused",
        ),
        (
            ("error: Failed to download", "  Caused by: Hash mismatch", ""),
            "Failed to download: Hash mismatch",
        ),
        (("Traceback:", "ImportError: no blas", ""), "ImportError: no blas"),
        ((), ""),
    ],
)
def test_an_error_becomes_one_line(lines: tuple[str, ...], said: str) -> None:
    assert explain(lines) == said


def test_uv_gets_the_users_settings_but_not_the_users_environment() -> None:
    environ = {"UV_OFFLINE": "1", "HTTPS_PROXY": "p", "VIRTUAL_ENV": "/v", "UV_DEFAULT_INDEX": "uv's"}

    seen = uv_environment({**environ, "PIP_INDEX_URL": "pip's"})
    assert (seen["UV_OFFLINE"], seen["HTTPS_PROXY"], seen["UV_DEFAULT_INDEX"]) == ("1", "p", "uv's")
    assert "VIRTUAL_ENV" not in seen


def test_pips_index_is_uvs_where_uv_has_none(tmp_path: Path) -> None:
    assert uv_environment({"PIP_INDEX_URL": "pip's"})["UV_DEFAULT_INDEX"] == "pip's"

    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = from the file\n")
    assert uv_environment({"PIP_CONFIG_FILE": str(file)})["UV_DEFAULT_INDEX"] == "from the file"
