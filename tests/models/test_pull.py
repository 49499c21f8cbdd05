"""Models pulled from a hub on loopback by the real tool: whole, checked, resumed, or a clear line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from fake_hub import FakeHub, git_blob

from kernel.catalog import Catalog
from kernel.isolation import LinkDirs
from kernel.pull import Source, pull
from transports.errors import (
    Forbidden,
    InsufficientStorage,
    MlxdError,
    ModelNotFound,
    ModelUnavailable,
    RequestError,
)
from transports.messages import Progress

pytestmark = pytest.mark.models

REPO = "some/model"
WEIGHTS = "model.safetensors"
# 1 MB, in which no two places are alike.
BIG = b"".join(i.to_bytes(4, "little") for i in range(250_000))
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    WEIGHTS: BIG,
    "modeling_evil.py": b"raise SystemExit",
    "pytorch_model.bin": b"pickle",
    "onnx/model.onnx": b"onnx",
    "README.md": b"read me",
}
NEEDED = {"config.json", "tokenizer.json", "chat_template.jinja", WEIGHTS}

Pull = Callable[..., Awaitable[Path]]


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[FakeHub]:
    async with FakeHub() as hub:
        hub.add(REPO, FILES)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "2")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def told() -> list[Progress]:
    return []


@pytest.fixture
def bring(text_python: str, tmp_path: Path, cache: Path, told: list[Progress]) -> Pull:
    links = LinkDirs(tmp_path / "run").make("text", {})

    async def bring(repo: str = REPO, revision: str = "") -> Path:
        source = Source.of(repo, revision)
        return await pull(source, cache, Path(text_python), links, told.append, timeout_s=60)

    return bring


def blobs(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (cache / "models--some--model/blobs").iterdir()}


async def until_partial(cache: Path) -> None:
    """Wait until the half that a stalled hub has sent is on the disk."""
    async with asyncio.timeout(10):
        while not any(size >= len(BIG) // 4 for name, size in blobs(cache).items() if "." in name):
            await asyncio.sleep(0.02)


async def test_what_a_model_needs_is_there_and_nothing_else(
    hub: FakeHub, bring: Pull, cache: Path, tmp_path: Path, told: list[Progress]
) -> None:
    snapshot = await bring()

    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == {n: FILES[n] for n in NEEDED}
    assert (cache / "models--some--model/refs/main").read_text() == snapshot.name
    found = [entry for entry in Catalog(tmp_path / "home", (), True).scan() if entry.name == REPO]
    assert [entry.path for entry in found] == [str(snapshot)]
    total = sum(len(FILES[name]) for name in NEEDED)
    assert (told[-1].num_bytes, told[-1].total_bytes, told[-1].detail) == (total, total, "4 of 4 files")


async def test_again_fetches_nothing_and_mends_what_was_damaged(
    hub: FakeHub, bring: Pull, cache: Path
) -> None:
    snapshot = await bring()
    hub.seen.clear()
    await bring()
    assert [seen.path for seen in hub.seen if "/api/" not in seen.path] == []

    blob = (snapshot / WEIGHTS).resolve()
    blob.write_bytes(b"x" + BIG[1:])
    await bring()

    assert (snapshot / WEIGHTS).read_bytes() == BIG


async def test_revisions_are_beside_each_other_and_share_files(
    hub: FakeHub, bring: Pull, cache: Path, tmp_path: Path
) -> None:
    hub.add(REPO, FILES | {"config.json": b'{"model_type": "qwen2"}'}, revision="v2")
    main = await bring()
    hub.seen.clear()
    second = await bring(revision="v2")

    assert hub.served(WEIGHTS) == []
    assert (second / WEIGHTS).resolve() == (main / WEIGHTS).resolve()
    assert (second / "config.json").read_bytes() != (main / "config.json").read_bytes()


@pytest.mark.parametrize("fault", ["cut", "reset", "stall", 503, 429])
async def test_it_goes_on_after(hub: FakeHub, bring: Pull, fault: str | int) -> None:
    hub.faults[WEIGHTS] = [fault]

    snapshot = await bring()

    assert (snapshot / WEIGHTS).read_bytes() == BIG
    if isinstance(fault, str):
        starts = [seen.range for seen in hub.served(WEIGHTS) if seen.server == "cdn"]
        assert starts[0] is None
        assert starts[1] and int(starts[1].removeprefix("bytes=").rstrip("-")) >= len(BIG) // 4


async def test_it_goes_on_although_the_server_begins_anew(hub: FakeHub, bring: Pull) -> None:
    hub.faults[WEIGHTS] = ["cut", "whole"]

    snapshot = await bring()

    assert (snapshot / WEIGHTS).read_bytes() == BIG


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("wrong", "checksum is wrong, twice"),
        ("long", "more than its 1000000 bytes came, twice"),
        ("short", "500000 of its 1000000 bytes came, twice"),
    ],
)
async def test_what_is_not_the_listed_file_is_not_taken(
    hub: FakeHub, bring: Pull, cache: Path, fault: str, said: str
) -> None:
    hub.faults[WEIGHTS] = [fault] * 2

    with pytest.raises(ModelUnavailable, match=rf"some/model: model.safetensors: .*{said}"):
        await bring()

    assert sorted(blobs(cache)) == sorted(git_blob(FILES[n]) for n in NEEDED - {WEIGHTS})
    assert not list((cache / "models--some--model/snapshots").iterdir())


async def test_one_wrong_transfer_is_made_good(hub: FakeHub, bring: Pull) -> None:
    hub.faults[WEIGHTS] = ["wrong"]

    snapshot = await bring()

    assert (snapshot / WEIGHTS).read_bytes() == BIG


async def test_a_killed_pull_is_gone_on_with(hub: FakeHub, bring: Pull, cache: Path) -> None:
    hub.faults[WEIGHTS] = ["stall"]
    task = asyncio.ensure_future(bring())
    await asyncio.wait_for(hub.stalled.wait(), 30)
    await until_partial(cache)
    for process in psutil.Process().children(recursive=True):
        # Others that a test before started may end just now.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "pull" in process.cmdline():
                process.kill()
    with pytest.raises(ModelUnavailable, match="the download failed"):
        await task
    (partial,) = (size for name, size in blobs(cache).items() if name.endswith(".incomplete"))
    hub.seen.clear()

    snapshot = await bring()

    assert partial >= len(BIG) // 4
    assert [seen.range for seen in hub.served(WEIGHTS) if seen.server == "cdn"] == [f"bytes={partial}-"]
    assert (snapshot / WEIGHTS).read_bytes() == BIG


async def test_a_cancelled_pull_leaves_no_process_and_is_gone_on_with(
    hub: FakeHub, bring: Pull, cache: Path
) -> None:
    # Engines that all tests of a run share.
    before = psutil.Process().children(recursive=True)
    hub.faults[WEIGHTS] = ["stall"]
    task = asyncio.ensure_future(bring())
    await asyncio.wait_for(hub.stalled.wait(), 30)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert psutil.Process().children(recursive=True) == before
    assert (await bring() / WEIGHTS).read_bytes() == BIG


async def test_the_second_of_two_pulls_waits_and_fetches_nothing(
    hub: FakeHub, bring: Pull, told: list[Progress]
) -> None:
    first, second = await asyncio.gather(bring(), bring())

    assert first == second
    assert "another pull of it runs" in [progress.detail for progress in told]
    assert len([seen for seen in hub.served(WEIGHTS) if seen.server == "cdn"]) == 1


async def test_the_token_goes_to_the_hub_alone(
    hub: FakeHub, bring: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"
    hub.repos[REPO, "main"].is_gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    await bring()

    given = {(seen.server, seen.authorization) for seen in hub.seen}
    assert given == {("hub", "Bearer hf_secret"), ("cdn", None)}


async def test_a_gated_model_without_consent_is_one_line(hub: FakeHub, bring: Pull) -> None:
    hub.repos[REPO, "main"].is_gated = True

    with pytest.raises(Forbidden, match=f"its authors ask for consent: give it at {hub.url}/{REPO}"):
        await bring()


async def test_a_token_that_the_hub_refuses_is_one_line(
    hub: FakeHub, bring: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_stale")

    with pytest.raises(Forbidden, match=r"refuses the token \(HTTP 401\)") as caught:
        await bring()
    assert "hf_stale" not in caught.value.message


@pytest.mark.parametrize(
    ("repo", "revision", "said"),
    [("no/such", "", "no/such: not at http://"), (REPO, "v9", "it has no revision 'v9'")],
)
async def test_what_the_hub_does_not_have_is_named(
    hub: FakeHub, bring: Pull, repo: str, revision: str, said: str
) -> None:
    with pytest.raises(ModelNotFound, match=said):
        await bring(repo, revision)


async def test_a_hub_that_is_not_there_is_one_line(
    bring: Pull, monkeypatch: pytest.MonkeyPatch, hub: FakeHub
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(ModelUnavailable, match=r"http://127.0.0.1:9 cannot be reached: .*refused"):
        await bring()


async def test_offline_by_choice_is_one_line(
    bring: Pull, monkeypatch: pytest.MonkeyPatch, hub: FakeHub
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE is set"):
        await bring()


async def test_a_hub_in_trouble_is_one_line(hub: FakeHub, bring: Pull) -> None:
    hub.faults["listing"] = [500]

    with pytest.raises(ModelUnavailable, match="answers HTTP 500"):
        await bring()


async def test_a_full_disk_is_noticed_before_the_first_byte(hub: FakeHub, bring: Pull, cache: Path) -> None:
    hub.repos[REPO, "main"].claimed[WEIGHTS] = 10**15

    with pytest.raises(InsufficientStorage, match=r"needs 1000000\.0 GB more"):
        await bring()

    assert blobs(cache) == {}
    assert hub.served("config.json") == []


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "a\\..\\evil.json", "a\0.json", "a//b", "./a"]
)
async def test_a_listing_with_a_name_that_leaves_its_folder_is_refused(
    hub: FakeHub, bring: Pull, cache: Path, name: str
) -> None:
    hub.repos[REPO, "main"].listed = (name,)

    with pytest.raises(RequestError, match="could leave its folder"):
        await bring()

    assert not (cache / "models--some--model").exists()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "no model.safetensors, found pytorch_model.bin"),
        ({"model.Q4.gguf": b"x"}, "no config.json, found model.Q4.gguf.*`mlxd models import`"),
    ],
)
async def test_a_repository_without_a_model_that_can_be_served_is_refused_before_the_first_byte(
    hub: FakeHub, bring: Pull, files: dict[str, bytes], said: str
) -> None:
    hub.add("other/model", files)

    with pytest.raises(RequestError, match=said):
        await bring("other/model")


@pytest.mark.parametrize(
    ("repo", "revision"),
    [
        ("../x", ""),
        ("a/b/c", ""),
        ("/abs", ""),
        ("a\\b", ""),
        ("a--b/c", ""),
        ("a/b\0", ""),
        ("-x/y", ""),
        ("a/b", "../main"),
        ("a/b", "/x"),
        ("a/b", "--flag"),
        ("a/b", "x\n"),
    ],
)
def test_names_that_no_hub_has_are_refused_before_anything_runs(repo: str, revision: str) -> None:
    with pytest.raises(MlxdError, match="expected"):
        Source.of(repo, revision)
