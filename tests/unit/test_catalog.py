"""The catalog: which models there are, and why some cannot be served."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

import kernel.catalog
from kernel.catalog import Catalog, CatalogEntry
from kernel.declaration import Declaration
from kernel.isolation import package_dir
from kernel.model_folder import FolderFacts, Signature

DEMO = "demo/smollm2-135m"
MINILM = "demo/all-minilm-l6-v2"
TINY_VL = "demo/tiny-vl"
CONFIG: dict[str, object] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 2048,
}


EYES = "model.visual.blocks.0.attn.qkv.weight"
VISION_CONFIG: dict[str, object] = {
    "model_type": "qwen2_5_vl",
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "image_token_id": 7,
    "vision_config": {"depth": 2},
}


def safetensors(data_bytes: int = 8, name: str = "model.norm.weight") -> bytes:
    header = {name: {"dtype": "U8", "shape": [data_bytes], "data_offsets": [0, data_bytes]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data_bytes)


def model(folder: Path, changed: Mapping[str, bytes | None] | None = None) -> Path:
    """A model folder, with some files replaced or left out."""
    files: dict[str, bytes | None] = {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": safetensors(),
        "tokenizer.json": b'{"version": "1.0"}',
        **(changed or {}),
    }
    folder.mkdir(parents=True)
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def vision_model(folder: Path, changed: Mapping[str, bytes | None] | None = None) -> Path:
    """A model folder with eyes."""
    files: dict[str, bytes | None] = {
        "config.json": json.dumps(VISION_CONFIG).encode(),
        "model.safetensors": safetensors(name=EYES),
        "preprocessor_config.json": b"{}",
        **(changed or {}),
    }
    return model(folder, files)


def scan(home: Path, *paths: Path) -> dict[str, CatalogEntry]:
    return {entry.name: entry for entry in Catalog(home, paths, hub_cache=False).scan()}


def test_models_are_found_in_home_and_further_folders(tmp_path: Path) -> None:
    model(tmp_path / "home/models/mine")
    model(tmp_path / "home/models/owner/theirs")
    model(tmp_path / "more/third")
    alone = model(tmp_path / "alone")

    found = scan(tmp_path / "home", tmp_path / "more", alone, tmp_path / "absent")
    assert sorted(found) == ["alone", MINILM, DEMO, TINY_VL, "mine", "owner/theirs", "third"]
    assert found["owner/theirs"].path == str(tmp_path / "home/models/owner/theirs")


def test_a_models_facts_are_read(tmp_path: Path) -> None:
    folder = model(tmp_path / "models/mine")
    for path in folder.iterdir():
        os.utime(path, (1000, 1000))
    os.utime(folder / "config.json", (2000, 2000))

    entry = scan(tmp_path)["mine"]
    assert (entry.kind, entry.source, entry.error) == ("text", "folder", "")
    assert (entry.context_length, entry.created) == (2048, 2000)
    assert entry.size_bytes == (folder / "model.safetensors").stat().st_size
    assert entry.info().state == "available"


def test_the_first_of_two_models_of_one_name_is_taken(tmp_path: Path) -> None:
    model(tmp_path / "home/models/same")
    model(tmp_path / "more/same")

    assert scan(tmp_path / "home", tmp_path / "more")["same"].path.startswith(str(tmp_path / "home"))


def test_a_demo_is_listed_before_it_is_fetched(tmp_path: Path) -> None:
    entry = scan(tmp_path)[DEMO]

    assert (entry.source, entry.kind, entry.info().state) == ("demo", "text", "absent")
    assert entry.demo is not None


def test_a_fetched_demo_is_available(tmp_path: Path) -> None:
    model(tmp_path / "models" / DEMO)

    entry = scan(tmp_path)[DEMO]
    assert (entry.source, entry.info().state) == ("demo", "available")
    assert entry.demo is not None


def test_a_broken_demo_says_how_to_get_it_again(tmp_path: Path) -> None:
    model(tmp_path / "models" / DEMO, {"tokenizer.json": None})

    assert f"; `mlxd models rm {DEMO}` has it fetched again" in scan(tmp_path)[DEMO].error


def test_the_embedded_vision_model_is_served_from_where_mlxd_is_installed(tmp_path: Path) -> None:
    entry = scan(tmp_path)[TINY_VL]

    assert (entry.source, entry.kind, entry.modalities) == ("demo", "vision", ("text", "image"))
    assert (entry.info().state, entry.error) == ("available", "")
    assert Path(entry.path).is_relative_to(package_dir("workers"))
    # Nothing is to be fetched.
    assert entry.demo is None


def test_a_folder_of_the_users_does_not_hide_the_embedded_model(tmp_path: Path) -> None:
    model(tmp_path / "models" / TINY_VL)

    assert scan(tmp_path)[TINY_VL].kind == "vision"


def test_an_embedded_model_that_was_removed_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel.catalog, "EMBEDDED", {TINY_VL: "vision/not-there"})

    assert scan(tmp_path)[TINY_VL].error == "config.json: missing"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"config.json": None}, "config.json: missing"),
        ({"config.json": b""}, "config.json: "),
        ({"config.json": b"{"}, "config.json: "),
        ({"config.json": b"[]"}, "config.json: "),
        ({"config.json": b"\xff\xfe{}"}, "config.json: "),
        ({"config.json": b'{"a":' * 100_000}, "config.json: "),
        ({"config.json": b"{}"}, "config.json: model_type is missing"),
        ({"config.json": b'{"model_type": "llama", "model_file": "x.py"}'}, "config.json: model_file"),
        (
            {"config.json": b'{"model_type": "t5", "architectures": ["T5EncoderModel"]}'},
            "no worker kind for T5EncoderModel models",
        ),
        ({"model.safetensors": None}, "model.safetensors: missing"),
        ({"model.safetensors": None, "pytorch_model.bin": b"x"}, "found pytorch_model.bin"),
        ({"model.safetensors": None, "model.gguf": b"GGUF"}, "`mlxd models import`"),
        ({"model.safetensors": b""}, "model.safetensors: "),
        ({"model.safetensors": safetensors()[:-1]}, "truncated"),
        ({"model.safetensors.index.json": b"{}"}, "weight_map is missing"),
        (
            {"model.safetensors.index.json": b'{"weight_map": {"a": "model-2.safetensors"}}'},
            "model-2.safetensors: missing",
        ),
        ({"tokenizer.json": None}, "tokenizer.json: missing"),
        ({"tokenizer.json": b""}, "tokenizer.json: empty"),
        ({"tokenizer.json": b'{"version": "1.0"'}, "tokenizer.json: Input data was truncated"),
        ({"tokenizer.json": b'{"version": "' + bytes(70_000)}, "tokenizer.json: not a JSON object"),
    ],
)
def test_a_broken_model_is_listed_with_the_file_at_fault(
    tmp_path: Path, changed: Mapping[str, bytes | None], said: str
) -> None:
    model(tmp_path / "models/broken", changed)
    model(tmp_path / "models/whole")

    found = scan(tmp_path)
    assert said in found["broken"].error
    assert (found["broken"].kind, found["broken"].info().state) == ("", "failed")
    assert found["whole"].error == ""


def test_a_model_with_eyes_takes_images(tmp_path: Path) -> None:
    vision_model(tmp_path / "models/seeing")

    entry = scan(tmp_path)["seeing"]
    assert (entry.kind, entry.modalities, entry.error) == ("vision", ("text", "image"), "")
    assert entry.info().modalities == ("text", "image")


def test_a_processor_may_be_in_either_file(tmp_path: Path) -> None:
    changed = {"preprocessor_config.json": None, "processor_config.json": b"{}"}
    vision_model(tmp_path / "models/seeing", changed)

    assert scan(tmp_path)["seeing"].kind == "vision"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"preprocessor_config.json": None}, "preprocessor_config.json: missing"),
        ({"preprocessor_config.json": b"{"}, "preprocessor_config.json: "),
        ({"processor_config.json": b""}, "processor_config.json: "),
    ],
)
def test_a_model_with_eyes_and_no_processor_is_broken(
    tmp_path: Path, changed: Mapping[str, bytes | None], said: str
) -> None:
    vision_model(tmp_path / "models/blind", changed)

    assert said in scan(tmp_path)["blind"].error


@pytest.mark.parametrize(
    "config",
    [
        VISION_CONFIG,
        # What mlx-lm's conversion of a vision model leaves of it.
        {**VISION_CONFIG, "vision_config": None},
        {**CONFIG, "vision_config": None, "image_token_id": 7},
        {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]},
    ],
)
def test_a_model_without_eyes_is_text_whatever_its_config_says(
    tmp_path: Path, config: dict[str, object]
) -> None:
    model(tmp_path / "models/blind", {"config.json": json.dumps(config).encode()})

    entry = scan(tmp_path)["blind"]
    assert (entry.kind, entry.modalities) == ("text", ("text",))


@pytest.mark.parametrize(
    "tensor",
    [
        "visual.patch_embed.proj.weight",
        "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
        "model.vision_embed_tokens.img_processor.weight",
        "model.embed_vision.embedding.weight",
        "vpm.embeddings.weight",
        "sam_model.blocks.0.weight",
    ],
)
def test_eyes_are_known_by_the_names_of_weights(tmp_path: Path, tensor: str) -> None:
    vision_model(tmp_path / "models/seeing", {"model.safetensors": safetensors(name=tensor)})

    assert scan(tmp_path)["seeing"].kind == "vision"


@pytest.mark.parametrize(
    "name", ["Phi3VForCausalLM", "MultiModalityCausalLM", "InternVLChatModel", "MiniCPMV"]
)
def test_models_that_write_about_images_are_served(tmp_path: Path, name: str) -> None:
    config = json.dumps({"model_type": "any", "architectures": [name]}).encode()
    vision_model(tmp_path / "models/seeing", {"config.json": config})

    assert scan(tmp_path)["seeing"].kind == "vision"


def test_a_model_that_sees_and_writes_nothing_is_not_served(tmp_path: Path) -> None:
    config = json.dumps({"model_type": "clip", "architectures": ["CLIPModel"]}).encode()
    vision_model(tmp_path / "models/clip", {"config.json": config})

    assert "no worker kind for CLIPModel" in scan(tmp_path)["clip"].error


@pytest.mark.parametrize(
    ("modalities", "expected"), [({}, ("text",)), ({"modalities": ["text", "image"]}, ("text", "image"))]
)
def test_an_echo_model_says_what_it_takes(
    tmp_path: Path, modalities: dict[str, object], expected: tuple[str, ...]
) -> None:
    folder = tmp_path / "models/echo/one"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "echo", **modalities}))

    assert scan(tmp_path)["echo/one"].modalities == expected


def test_an_echo_model_takes_nothing_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "models/echo/one"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "echo", "modalities": ["smell"]}')

    assert "config.json: modalities: " in scan(tmp_path)["echo/one"].error


def test_an_echo_model_is_its_config_alone(tmp_path: Path) -> None:
    (tmp_path / "models/echo/slow").mkdir(parents=True)
    (tmp_path / "models/echo/slow/config.json").write_text('{"model_type": "echo"}')

    entry = scan(tmp_path)["echo/slow"]
    assert (entry.kind, entry.error) == ("echo", "")


def test_junk_is_not_listed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    model(models / ".incoming-1234/model")
    model(models / "too/deep/here")
    (models / "empty").mkdir()
    (models / "notes.txt").write_text("x")
    (models / "loop").symlink_to(models, target_is_directory=True)
    (models / "self").symlink_to(models / "self")
    (models / "nowhere").symlink_to(tmp_path / "nowhere")
    model(models / "line\nbreak")
    # macOS has no such names.
    with contextlib.suppress(OSError):
        (models / os.fsdecode(b"\xff\xfe")).mkdir()
    model(models / "real")

    assert sorted(scan(tmp_path)) == [MINILM, DEMO, TINY_VL, "loop/real", "real"]


def test_what_macos_hides_beside_files_changes_nothing(tmp_path: Path) -> None:
    folder = model(tmp_path / "models/mine")
    before = scan(tmp_path)
    for name in (".DS_Store", "._config.json", "._model.safetensors"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "._model.safetensors").write_bytes(b"\0\5\x16\7")

    assert scan(tmp_path) == before


def test_a_link_to_a_file_that_is_gone_is_a_missing_file(tmp_path: Path) -> None:
    folder = model(tmp_path / "models/half", {"model.safetensors": None})
    (folder / "model.safetensors").symlink_to(tmp_path / "gone")

    assert "model.safetensors: missing" in scan(tmp_path)["half"].error


def test_names_are_matched_exactly(tmp_path: Path) -> None:
    model(tmp_path / "models/mine")
    catalog = Catalog(tmp_path, (), hub_cache=False)
    catalog.scan()

    assert catalog.entry("mine") is not None
    for name in ("Mine", "mine/", "./mine", "../models/mine", str(tmp_path / "models/mine"), "", "mine\0"):
        assert catalog.entry(name) is None


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # "model" is the folder of demo/tiny-vl.
    read = []
    inspect = kernel.catalog.inspect_folder

    def noted(folder: Path, files: Signature, kinds: Mapping[str, Declaration]) -> FolderFacts:
        read.append(folder.name)
        return inspect(folder, files, kinds)

    monkeypatch.setattr(kernel.catalog, "inspect_folder", noted)
    first = model(tmp_path / "models/first")
    model(tmp_path / "models/second")
    catalog = Catalog(tmp_path, (), hub_cache=False)

    catalog.scan()
    catalog.scan()
    assert read == ["model", "first", "second"]
    (first / "tokenizer.json").unlink()
    catalog.scan()
    assert read == ["model", "first", "second", "first"]
    assert "tokenizer.json" in getattr(catalog.entry("first"), "error", "")


def test_a_deleted_model_is_gone(tmp_path: Path) -> None:
    folder = model(tmp_path / "models/mine")
    catalog = Catalog(tmp_path, (), hub_cache=False)
    catalog.scan()
    folder.rename(tmp_path / "elsewhere")

    catalog.scan()
    assert catalog.entry("mine") is None


def test_a_thousand_models_are_scanned_quickly(tmp_path: Path) -> None:
    for number in range(1000):
        model(tmp_path / f"models/owner{number % 10}/model{number}")
    catalog = Catalog(tmp_path, (), hub_cache=False)
    catalog.scan()

    start_s = time.process_time()
    found = catalog.scan()
    assert len(found) == 1003
    # 0.05 s on one slow core; reading the files again takes several times that.
    assert time.process_time() - start_s < 0.5


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98362432\n"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"model.safetensors": POINTER}, "model.safetensors: a Git LFS pointer and not the file"),
        ({"tokenizer.json": POINTER}, "tokenizer.json: a Git LFS pointer and not the file"),
        (
            {"model.safetensors": None, "model-00001-of-00003.safetensors": safetensors()},
            "model-00002-of-00003.safetensors: missing",
        ),
        (
            {"model.safetensors": None, "model.safetensors.part": b"half"},
            "model.safetensors: missing; model.safetensors.part says that a download has not finished",
        ),
        ({"config.json": b"[1, 2]"}, "config.json: Expected `object`, got `array`"),
        ({"config.json": b'{"a":' * 100_000}, "config.json: "),
    ],
)
def test_what_did_not_come_whole_is_named(
    tmp_path: Path, changed: Mapping[str, bytes | None], error: str
) -> None:
    model(tmp_path / "models/mine", changed)

    assert error in scan(tmp_path)["mine"].error


def test_a_huge_config_is_not_read(tmp_path: Path) -> None:
    folder = model(tmp_path / "models/mine")
    with (folder / "config.json").open("wb") as file:
        file.truncate(10**10)

    assert "config.json: expected at most" in scan(tmp_path)["mine"].error


def test_unknown_keys_in_a_config_are_nobodys_business(tmp_path: Path) -> None:
    config = {**CONFIG, "new_in_2031": {"deep": [1, {"x": None}]}, "rope_scaling": "wrong", "vocab_size": -1}
    model(tmp_path / "models/mine", {"config.json": json.dumps(config).encode()})

    assert scan(tmp_path)["mine"].error == ""


def test_a_folder_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path / "models/mine")
    locked = model(tmp_path / "models/locked")
    look = kernel.catalog.list_files

    def refuse(folder: Path) -> Signature:
        if folder == locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return look(folder)

    # The tests may run as root, whom no mode keeps out.
    monkeypatch.setattr(kernel.catalog, "list_files", refuse)

    found = scan(tmp_path)
    assert found["locked"].error == "the folder cannot be read: permission denied"
    assert found["mine"].error == ""


def test_a_change_of_any_file_is_another_fingerprint(tmp_path: Path) -> None:
    folder = model(tmp_path / "models/mine")
    catalog = Catalog(tmp_path, (), hub_cache=False)
    catalog.scan()
    before = catalog.entry("mine")
    (folder / "chat_template.jinja").write_text("new")
    catalog.scan()
    after = catalog.entry("mine")

    assert before
    assert after
    assert before.fingerprint
    assert before.fingerprint != after.fingerprint
    assert after.fingerprint == kernel.catalog.fingerprint(folder)


# --- the Hugging Face cache ---


def hub_model(hub: Path, name: str, revision: str = "abc123", ref: str | None = "abc123") -> Path:
    repository = hub / f"models--{name}"
    blobs = model(repository / "blobs")
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(blob)
    if ref is not None:
        (repository / "refs").mkdir()
        (repository / "refs/main").write_text(ref)
    return snapshot


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def scan_hub(home: Path) -> dict[str, CatalogEntry]:
    found = Catalog(home, (), hub_cache=True).scan()
    return {entry.name: entry for entry in found if entry.source == "hub"}


def test_models_of_the_hub_cache_have_their_hub_names(tmp_path: Path, hub: Path) -> None:
    snapshot = hub_model(hub, "org--some-model")

    found = scan_hub(tmp_path)
    assert list(found) == ["org/some-model"]
    assert (found["org/some-model"].path, found["org/some-model"].error) == (str(snapshot), "")


def test_the_main_revision_is_taken(tmp_path: Path, hub: Path) -> None:
    hub_model(hub, "org--model", revision="old")
    new = hub / "models--org--model/snapshots/abc123"
    model(new)

    assert scan_hub(tmp_path)["org/model"].path == str(new)


def test_without_a_main_revision_the_newest_snapshot_is_taken(tmp_path: Path, hub: Path) -> None:
    snapshot = hub_model(hub, "org--model", ref=None)

    assert scan_hub(tmp_path)["org/model"].path == str(snapshot)


@pytest.mark.parametrize("ref", ["../../../../etc", "", "a/b", "not-there"])
def test_a_strange_revision_leads_nowhere(tmp_path: Path, hub: Path, ref: str) -> None:
    snapshot = hub_model(hub, "org--model", ref=ref)

    assert [entry.path for entry in scan_hub(tmp_path).values()] == [str(snapshot)]


def test_what_is_no_model_in_the_hub_cache_is_not_listed(tmp_path: Path, hub: Path) -> None:
    hub_model(hub, "org--model")
    model(hub / "datasets--org--data/snapshots/abc123")
    (hub / "models--org--empty").mkdir()
    (hub / "version.txt").write_text("1")

    assert list(scan_hub(tmp_path)) == ["org/model"]


def test_a_half_downloaded_model_is_listed_with_what_is_missing(tmp_path: Path, hub: Path) -> None:
    snapshot = hub_model(hub, "org--model")
    blobs = hub / "models--org--model/blobs"
    (blobs / "model.safetensors").rename(blobs / "model.incomplete")

    entry = scan_hub(tmp_path)["org/model"]
    assert entry.error == (
        "model.safetensors: missing; its download has not finished: `mlxd pull org/model` goes on"
    )
    assert entry.path == str(snapshot)


def test_a_download_that_shows_nothing_yet_is_listed_as_what_it_is(tmp_path: Path, hub: Path) -> None:
    blobs = hub / "models--org--model/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{'0' * 64}.incomplete").write_bytes(b"x")

    assert "`mlxd pull org/model` goes on" in scan_hub(tmp_path)["org/model"].error


def revision(hub: Path, commit: str, *refs: str, files: Mapping[str, bytes | None] | None = None) -> Path:
    """One more revision of org/model."""
    snapshot = model(hub / f"models--org--model/snapshots/{commit}", files)
    for ref in refs:
        path = hub / "models--org--model/refs" / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)
    return snapshot


def test_revisions_have_names_of_their_own(tmp_path: Path, hub: Path) -> None:
    main = revision(hub, "a" * 40, "main")
    tagged = revision(hub, "b" * 40, "v2")
    proposed = revision(hub, "c" * 40, "refs/pr/1")
    old = revision(hub, "d" * 40)
    revision(hub, "e" * 40, files={"model.safetensors": None})

    assert {name: entry.path for name, entry in scan_hub(tmp_path).items()} == {
        "org/model": str(main),
        "org/model@v2": str(tagged),
        "org/model@refs/pr/1": str(proposed),
        f"org/model@{'d' * 12}": str(old),
    }


def test_a_revision_with_two_names_is_listed_once(tmp_path: Path, hub: Path) -> None:
    revision(hub, "a" * 40, "main", "v2")

    assert list(scan_hub(tmp_path)) == ["org/model"]


def test_a_tag_alone_keeps_its_name_when_main_comes(tmp_path: Path, hub: Path) -> None:
    tagged = revision(hub, "b" * 40, "v2")
    assert list(scan_hub(tmp_path)) == ["org/model@v2"]

    revision(hub, "a" * 40, "main")

    assert scan_hub(tmp_path)["org/model@v2"].path == str(tagged)


@pytest.mark.parametrize("place", ["snapshots", "refs", "blobs"])
def test_links_in_circles_in_the_hub_cache_end(tmp_path: Path, hub: Path, place: str) -> None:
    repository = hub / "models--org--model"
    repository.mkdir(parents=True)
    (repository / place).symlink_to(repository)
    (hub / "models--org--self").symlink_to(hub / "models--org--self")

    assert scan_hub(tmp_path) == {}
