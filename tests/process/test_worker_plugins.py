"""Worker kinds of strangers, installed beside mlxd: served when they work, and no harm when they do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from plugin_packages import DECLARATION, ENGINE, install_worker
from running import RunningKernel, StartKernel, add_model

from transports.errors import MlxdError, ModelUnavailable, PluginError

# Kind -> its engine's module.
ENGINES = {
    # Its metadata can be read, too.
    "parrot": "from importlib.metadata import version\n" + ENGINE + "version('mlxd-parrot')\n",
    "unimportable": "import nothing_of_this_name\n",
    "liar": "load = 'no function'\n",
    "quitter": "import os\nos._exit(3)\n",
    "raiser": "def load(*_): raise RuntimeError('a bug')\n",
}
# Kind -> how a request for its model ends.
FAILURES: dict[str, tuple[type[MlxdError], str]] = {
    "unimportable": (PluginError, "No module named 'nothing_of_this_name'"),
    "liar": (PluginError, "loader mlxd_liar.engine:load: expected a function, got str"),
    "quitter": (ModelUnavailable, "its worker ends again and again"),
    "raiser": (ModelUnavailable, "raiser/model: cannot be loaded: RuntimeError: a bug"),
}


@pytest.fixture
async def kernel(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_kernel: StartKernel
) -> AsyncIterator[RunningKernel]:
    """A kernel in whose Python those kinds are installed, each with a model."""
    for name, engine in ENGINES.items():
        install_worker(
            tmp_path / "site", name, engine=engine, declaration=DECLARATION.replace("parrot", name)
        )
        add_model(home, f"{name}/model", model_type=name)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    yield await start_kernel(max_start_crashes=1, restart_first_delay_s=0.05)


async def test_a_strangers_kind_serves_its_models(kernel: RunningKernel) -> None:
    assert await kernel.say("hello", model="parrot/model") == "hello"

    models = {model.name: model for model in await kernel.client.models()}
    assert (models["parrot/model"].kind, models["parrot/model"].state) == ("parrot", "ready")


async def test_kinds_that_cannot_load_fail_alone(kernel: RunningKernel) -> None:
    for kind, (error, said) in FAILURES.items():
        async with asyncio.timeout(30):
            with pytest.raises(error, match=said):
                await kernel.say("hello", model=f"{kind}/model")

    assert await kernel.say("hello") == "hello"
