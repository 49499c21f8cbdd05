"""What a model folder holds, from config.json and the headers of its weights. Runs nothing that is in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from kernel.foreign_code import CONFIG_FILES, check_config, check_names
from kernel.model_sizes import ModelSizes, Tensor, sizes_of
from kernel.safetensors_header import read_tensors
from transports.reports import Modality

# config.json and the weights' index; real ones stay below 10 MB.
MAX_JSON_BYTES = 64 * 1024 * 1024
# The engine without a model, for tests and plugin authors: config.json alone is its model.
ECHO = "echo"
# Any of these is a tokenizer.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt")
# Names of architectures that write text, as transformers and the models' authors end them.
WRITER_ENDINGS = (
    "CausalLM",
    "LMHeadModel",
    "ForConditionalGeneration",
    "ChatModel",
    "MiniCPMV",
    "MiniCPMO",
)
# Worker kind -> what may be in a request.
MODALITIES: Mapping[str, tuple[Modality, ...]] = {"text": ("text",), "vision": ("text", "image")}
# In the names of the weights that look at pictures: "visual.blocks.0.attn", "model.vision_tower.encoder",
# "model.embed_vision", "vpm.embeddings".
VISION_MARKS = ("vision", "visual", "vpm.", "image_vit", "sam_model")
# What begins a file that stands for one in Git LFS, until it is fetched; such are some 130 bytes.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
MAX_POINTER_BYTES = 1024
# Files that programs fill while they download.
PARTIAL_ENDINGS = (".incomplete", ".part", ".partial", ".download", ".crdownload", ".aria2", ".!qB")
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
# Either says how a picture becomes the model's input.
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "seq_length",
    "n_ctx",
    "context_length",
)

# (name, size in bytes, mtime in ns) of each file; changes when the folder's content does.
Signature = tuple[tuple[str, int, int], ...]


class FolderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model folder; with an error it cannot be served."""

    kind: str = ""
    modalities: tuple[Modality, ...] = ("text",)
    size_bytes: int = 0
    sizes: ModelSizes = ModelSizes()
    context_length: int = 0
    # Unix time of the newest file, seconds.
    created: int = 0
    error: str = ""


def list_files(folder: Path) -> Signature:
    """The files of *folder*, links followed, broken ones left out.

    Raises:
        OSError: It cannot be read.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.is_file():
                    info = entry.stat()
                    found.append((entry.name, info.st_size, info.st_mtime_ns))
            except OSError:
                # A link to nothing, or to itself: not there.
                continue
    return tuple(sorted(found))


def is_model_folder(files: Signature) -> bool:
    """Whether this is somebody's model, broken or not."""
    return any(name == "config.json" or name.endswith((".safetensors", ".gguf")) for name, _, _ in files)


def inspect_folder(folder: Path, files: Signature) -> FolderFacts:
    """Look at a model folder; what is wrong with it is in the result's `error`, naming the file."""
    sizes = {name: size for name, size, _ in files}
    facts = FolderFacts(
        size_bytes=sum(size for name, size in sizes.items() if name.endswith(".safetensors")),
        created=max((mtime_ns for _, _, mtime_ns in files), default=0) // 10**9,
    )
    try:
        config = _read_json(folder, "config.json", sizes)
        facts = msgspec.structs.replace(facts, context_length=_context_length(config))
        _check_config(config)
        if config["model_type"] == ECHO:
            weight = ModelSizes(weights_bytes=_echo_bytes(config), dense_weights_bytes=_echo_bytes(config))
            return msgspec.structs.replace(
                facts, kind=ECHO, modalities=_echo_modalities(config), sizes=weight
            )
        _check_code(folder, sizes)
        tensors = _check_weights(folder, sizes)
        kind = _kind(tensors)
        _check_tokenizer(folder, sizes)
        if kind == "vision":
            _check_processor(folder, sizes)
    except ValueError as e:
        partial = next((name for name in sizes if name.endswith(PARTIAL_ENDINGS)), "")
        hint = f"; {partial[:200]} says that a download has not finished" if partial else ""
        return msgspec.structs.replace(facts, error=f"{e}{hint}")
    except OSError as e:
        name = Path(os.fsdecode(e.filename)).name if e.filename else folder.name
        return msgspec.structs.replace(facts, error=f"{name}: {e.strerror}")
    of_model = sizes_of(config, tensors, facts.context_length)
    return msgspec.structs.replace(facts, kind=kind, modalities=MODALITIES[kind], sizes=of_model)


def _check_config(config: Mapping[str, Any]) -> None:
    if not isinstance(config.get("model_type"), str):
        raise ValueError("config.json: model_type is missing")
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        name = str(architectures[0])
        if not name.endswith(WRITER_ENDINGS):
            raise ValueError(f"no worker kind for {name[:80]} models yet")


def _check_code(folder: Path, sizes: Mapping[str, int]) -> None:
    for name in CONFIG_FILES:
        if name in sizes:
            check_config(name, _read_json(folder, name, sizes))
    check_names(sizes)


def _check_weights(folder: Path, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """See that the weights are all there; their tensors by name."""
    # The names that mlx-lm loads.
    weights = {name for name in sizes if name.startswith("model") and name.endswith(".safetensors")}
    index = "model.safetensors.index.json"
    if index in sizes:
        shards = _read_json(folder, index, sizes).get("weight_map")
        if not isinstance(shards, dict):
            raise ValueError(f"{index}: weight_map is missing")
        for shard in sorted({str(name) for name in shards.values()} - weights):
            raise ValueError(f"{shard[:200]}: missing, although {index} names it")
    if not weights:
        others = [name for name in sizes if name.endswith((".safetensors", ".gguf", ".bin", ".npz", ".pt"))]
        found = f", found {others[0]}" if others else ""
        advice = "; `mlxd models import` takes GGUF files" if found.endswith(".gguf") else ""
        raise ValueError(f"model.safetensors: missing{found}{advice}")
    if missing := _missing_shard(weights):
        raise ValueError(f"{missing}: missing")
    tensors: dict[str, Tensor] = {}
    for name in sorted(weights):
        _check_no_pointer(folder, name, sizes)
        try:
            tensors |= read_tensors(folder / name)
        except ValueError as e:
            raise ValueError(f"{name}: {e}") from None
    return tensors


def _missing_shard(weights: Iterable[str]) -> str:
    """The first of "model-00001-of-00003.safetensors" and so on that is not there; "" if all are."""
    found = {match.group() for name in weights if (match := _SHARD.fullmatch(name))}
    for total in sorted({name[-17:-12] for name in found}):
        for number in range(1, int(total) + 1):
            if (name := f"model-{number:05}-of-{total}.safetensors") not in found:
                return name
    return ""


def _check_no_pointer(folder: Path, name: str, sizes: Mapping[str, int]) -> None:
    if sizes[name] <= MAX_POINTER_BYTES:
        with (folder / name).open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise ValueError(f"{name}: a Git LFS pointer and not the file; `git lfs pull` fetches it")


def _kind(tensors: Iterable[str]) -> str:
    """The worker kind for a model with these weights.

    config.json does not tell: mlx-lm's conversions to text alone keep architectures and image_token_id,
    others vision_config too; some models with eyes are called ForCausalLM.
    """
    return "vision" if any(mark in name for name in tensors for mark in VISION_MARKS) else "text"


def _check_processor(folder: Path, sizes: Mapping[str, int]) -> None:
    found = [name for name in PROCESSOR_FILES if name in sizes]
    if not found:
        raise ValueError(
            f"{PROCESSOR_FILES[0]}: missing, and no {PROCESSOR_FILES[1]} either; a vision model needs one"
        )
    for name in found:
        _read_json(folder, name, sizes)


def _echo_modalities(config: Mapping[str, Any]) -> tuple[Modality, ...]:
    try:
        return msgspec.convert(config.get("modalities", ("text",)), tuple[Modality, ...])
    except msgspec.ValidationError as e:
        raise ValueError(f"config.json: modalities: {e}") from None


def _echo_bytes(config: Mapping[str, Any]) -> int:
    memory_bytes = config.get("memory_bytes", 0)
    if isinstance(memory_bytes, bool) or not isinstance(memory_bytes, int) or memory_bytes < 0:
        raise ValueError("config.json: memory_bytes: expected a number of bytes")
    return memory_bytes


def _check_tokenizer(folder: Path, sizes: Mapping[str, int]) -> None:
    found = [name for name in TOKENIZER_FILES if name in sizes]
    if not found:
        raise ValueError("tokenizer.json: missing, and no tokenizer.model either")
    if sizes[found[0]] == 0:
        raise ValueError(f"{found[0]}: empty")
    _check_no_pointer(folder, found[0], sizes)
    if found[0] == "tokenizer.json":
        # Megabytes of JSON: only the first and last character are worth the time.
        with (folder / "tokenizer.json").open("rb") as file:
            first = file.read(64).lstrip()[:1]
            file.seek(-min(64, sizes["tokenizer.json"]), os.SEEK_END)
            last = file.read().rstrip()[-1:]
        if (first, last) != (b"{", b"}"):
            raise ValueError("tokenizer.json: not a JSON object: truncated?")


def _context_length(config: Mapping[str, Any]) -> int:
    text = config.get("text_config")
    for section in (config, text if isinstance(text, dict) else {}):
        for key in CONTEXT_KEYS:
            value = section.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
                return value
    return 0


# Any: what JSON gives before it is looked at.
def _read_json(folder: Path, name: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    if name not in sizes:
        raise ValueError(f"{name}: missing")
    if sizes[name] > MAX_JSON_BYTES:
        raise ValueError(f"{name}: expected at most {MAX_JSON_BYTES} bytes, got {sizes[name]}")
    try:
        return msgspec.json.decode((folder / name).read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ValueError(f"{name}: {e}") from None
