"""Frontends of strangers, installed beside mlxd: served when they work, and no harm when they do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_harness import mlxd
from plugin_packages import install, install_frontend
from running import RunningKernel, run_kernel

from transports.reports import FrontendInfo
from transports.settings import KernelSettings, Settings

FRONTEND = """
import gc
from msgspec import Struct
from plugins.frontend import check_options
from transports.messages import ChatMessage, ChatRequest, Delta
from transports.settings import Section

class Options(Section, frozen=True, kw_only=True):
    answer_file: str = ""
    num: int = 1

class build:
    def __init__(self, settings, media):
        self.options = check_options("{name}", settings, Options)
    async def open(self):
        return "somewhere"
    async def serve(self, client):
        {serve}
        await client.stopping.wait()
    async def close(self):
        pass
"""
ASK = """body = ChatRequest(messages=(ChatMessage(role="user", content="hello"),))
        async with client.submit(task="chat", model="echo/plain", body=body) as answer:
            text = "".join([one.text async for one in answer if isinstance(one, Delta)])
        open(self.options.answer_file, "w").write(f"{text} {gc.get_freeze_count() > 10_000}")"""
# Name -> its module.
FRONTENDS = {
    "asker": FRONTEND.format(name="asker", serve=ASK),
    "misled": FRONTEND.format(name="misled", serve="pass"),
    "unimportable": "import nothing_of_this_name\n",
    "raiser": "raise RuntimeError('a bug')\n",
    "liar": "def build(settings, media): return 'no frontend'\n",
    "quitter": "import os\nos._exit(3)\n",
    "crasher": FRONTEND.format(name="crasher", serve="raise RuntimeError('a bug')"),
}
# Name -> why it does not run, as status tells it.
REASONS = {
    "misled": "[misled]: Expected `int`, got `str` - at `$.num`",
    "unimportable": "frontend 'unimportable': ModuleNotFoundError: No module named 'nothing_of_this_name'",
    "raiser": "frontend 'raiser': RuntimeError: a bug",
    "liar": "frontend 'liar': made no frontend: a str",
    "absent": "frontend 'absent': not installed; there are: ",
    # Ours goes through the same door as theirs, and is told the same.
    "stdio": "frontend 'stdio': people start it; take it out of kernel.frontends",
}


DOC = (Path(__file__).parents[2] / "docs" / "writing-a-frontend.md").read_text()
# The whole module of the command that the page has.
TITLE = (
    DOC.partition("`mlxd-title/mlxd_title/frontend.py`")[2].partition("```python\n")[2].partition("```")[0]
)


@pytest.fixture
async def kernel(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningKernel]:
    """A kernel in whose Python those frontends are installed and enabled, and one that is not installed."""
    for name, code in FRONTENDS.items():
        install_frontend(tmp_path / "site", name, code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    settings = Settings(
        kernel=KernelSettings(
            frontends=(*FRONTENDS, "absent", "stdio"),
            restart_first_delay_s=0.05,
            max_start_crashes=1,
            max_crashes=1,
        ),
        plugins={"asker": {"answer_file": str(tmp_path / "answer")}, "misled": {"num": "one"}},
    )
    kernel = await run_kernel(settings, home)
    yield kernel
    await kernel.end()


async def test_frontends_of_strangers_work_or_fail_alone(kernel: RunningKernel, tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        states = await settled(kernel)
    assert (states["asker"].state, states["asker"].address) == ("ready", "somewhere")
    for name, reason in REASONS.items():
        assert (states[name].state, states[name].error[: len(reason)]) == ("failed", reason)
    assert {states["quitter"].state, states["crasher"].state} == {"crash-looped"}

    assert (tmp_path / "answer").read_text() == "hello True"
    assert await kernel.say("still here") == "still here"


def test_a_strangers_command_runs_as_one_of_ours(home: Path, tmp_path: Path) -> None:
    """The one of the page, to the letter."""
    point = {"title": "mlxd_title.frontend:title"}
    install(tmp_path, "mlxd-title", {"mlxd_title/frontend.py": TITLE}, {"mlxd.frontends": point})
    (home / "config.toml").write_text('[title]\nmodel = "echo/plain"\n')

    done = mlxd(home, "title", stdin="A text.", PYTHONPATH=str(tmp_path))

    assert (done.stdout, done.stderr, done.returncode) == ("Give this a title: A text.\n", "", 0)


async def settled(kernel: RunningKernel) -> dict[str, FrontendInfo]:
    """The frontends by kind, once each has come to its end or runs."""
    while True:
        states = {one.kind: one for one in (await kernel.client.status()).frontends if one.supervised}
        expected = {
            **dict.fromkeys(REASONS, "failed"),
            **dict.fromkeys(("quitter", "crasher"), "crash-looped"),
            "asker": "ready",
        }
        answered = Path(kernel.home.parent / "answer").exists()
        if answered and expected == {name: states[name].state for name in expected if name in states}:
            return states
        await asyncio.sleep(0.05)
