"""What a model folder holds, from config.json and the headers of its weights. Runs nothing that is in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kernel.capabilities import of_template
from kernel.declaration import Declaration, candidates, serving, tasks_of
from kernel.folders import raise_if_not_of_the_file
from kernel.foreign_code import CONFIG_FILES, check_config, check_names
from kernel.model_sizes import ModelSizes, Tensor, sizes_of
from kernel.safetensors_header import read_tensors
from transports.reports import Capability, Modality

# config.json and the weights' index; real ones stay below 10 MB.
MAX_JSON_BYTES = 64 * 1024 * 1024
# Other files are parsed up to this size: a tokenizer is megabytes, which are not worth the time.
MAX_PARSED_BYTES = 64 * 1024
# What begins a file that stands for one in Git LFS, until it is fetched; such are some 130 bytes.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
MAX_POINTER_BYTES = 1024
# Files that programs fill while they download.
PARTIAL_ENDINGS = (".incomplete", ".part", ".partial", ".download", ".crdownload", ".aria2", ".!qB")
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
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
    capabilities: tuple[Capability, ...] = ()
    tasks: tuple[str, ...] = ()
    size_bytes: int = 0
    sizes: ModelSizes = ModelSizes()
    context_length: int = 0
    # Unix time of the newest file, seconds.
    created: int = 0
    error: str = ""


def list_files(folder: Path) -> Signature:
    """The files of *folder* without hidden ones, links followed, broken ones left out.

    macOS puts such beside others, as Finder's .DS_Store and, on disks that are not its own, a
    "._model.safetensors" for each file; no library reads them.

    Raises:
        OSError: It cannot be read.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if not entry.name.startswith(".") and entry.is_file():
                    info = entry.stat()
                    found.append((entry.name, info.st_size, info.st_mtime_ns))
            except OSError:
                # A link to nothing, or to itself: not there.
                continue
    return tuple(sorted(found))


def is_model_folder(files: Signature) -> bool:
    """Whether this is somebody's model, broken or not."""
    return any(name == "config.json" or name.endswith((".safetensors", ".gguf")) for name, _, _ in files)


def inspect_folder(folder: Path, files: Signature, kinds: Mapping[str, Declaration]) -> FolderFacts:
    """Look at a model folder; what is wrong with it is in the result's `error`, naming the file.

    Args:
        folder: The model's.
        files: From `list_files`.
        kinds: The worker kinds that there are.
    """
    sizes = {name: size for name, size, _ in files}
    facts = FolderFacts(
        size_bytes=sum(size for name, size in sizes.items() if name.endswith(".safetensors")),
        created=max((mtime_ns for _, _, mtime_ns in files), default=0) // 10**9,
    )
    try:
        config = _read_json(folder, "config.json", sizes)
        facts = msgspec.structs.replace(facts, context_length=_context_length(config))
        model_type, architecture = _identity(config)
        possible = candidates(kinds, model_type, architecture, sizes)
        if not possible:
            raise ValueError(f"no worker kind for {(architecture or model_type)[:80]} models yet")
        _check_code(folder, sizes)
        kind = serving(kinds, model_type, architecture, sizes, ())
        if kind is not None and not kinds[kind].weights:
            said = {"modalities": _said_modalities(config), "sizes": _said_sizes(config)}
            said |= {
                "tasks": tasks_of(kinds[kind], model_type, architecture, sizes, ()),
                "capabilities": kinds[kind].capabilities,
            }
            return msgspec.structs.replace(facts, kind=kind, **said)
        tensors = _check_weights(folder, sizes)
        kind = serving(kinds, model_type, architecture, sizes, tensors)
        if kind is None:
            raise ValueError(f"no worker kind for {(architecture or model_type)[:80]} models of such weights")
        for names in kinds[kind].needs:
            _check_needed(folder, names, kind, sizes)
        capabilities = (*kinds[kind].capabilities, *of_template(folder, sizes))
    except ValueError as e:
        partial = next((name for name in sizes if name.endswith(PARTIAL_ENDINGS)), "")
        hint = f"; {partial[:200]} says that a download has not finished" if partial else ""
        return msgspec.structs.replace(facts, error=f"{e}{hint}")
    except OSError as e:
        raise_if_not_of_the_file(e)
        name = Path(os.fsdecode(e.filename)).name if e.filename else folder.name
        return msgspec.structs.replace(facts, error=f"{name}: {e.strerror}")
    return msgspec.structs.replace(
        facts,
        kind=kind,
        modalities=kinds[kind].modalities,
        capabilities=capabilities,
        tasks=tasks_of(kinds[kind], model_type, architecture, sizes, tensors),
        sizes=sizes_of(config, tensors, facts.context_length),
    )


def _identity(config: Mapping[str, Any]) -> tuple[str, str]:
    """What config.json says that the model is: its type, and its first architecture or ""."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ValueError("config.json: model_type is missing")
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        return model_type, str(architectures[0])
    return model_type, ""


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


def _said_modalities(config: Mapping[str, Any]) -> tuple[Modality, ...]:
    try:
        return msgspec.convert(config.get("modalities", ("text",)), tuple[Modality, ...])
    except msgspec.ValidationError as e:
        raise ValueError(f"config.json: modalities: {e}") from None


def _said_sizes(config: Mapping[str, Any]) -> ModelSizes:
    memory_bytes = config.get("memory_bytes", 0)
    if isinstance(memory_bytes, bool) or not isinstance(memory_bytes, int) or memory_bytes < 0:
        raise ValueError("config.json: memory_bytes: expected a number of bytes")
    return ModelSizes(weights_bytes=memory_bytes, dense_weights_bytes=memory_bytes)


def _check_needed(folder: Path, names: Sequence[str], kind: str, sizes: Mapping[str, int]) -> None:
    """See that one of *names* is there and whole, the first of them being the one that is used."""
    found = [name for name in names if name in sizes]
    if not found:
        others = f", and no {names[1]} either" if len(names) > 1 else ""
        raise ValueError(f"{names[0]}: missing{others}; a {kind} model needs one")
    if sizes[found[0]] == 0:
        raise ValueError(f"{found[0]}: empty")
    _check_no_pointer(folder, found[0], sizes)
    for name in found:
        if not name.endswith(".json"):
            continue
        if sizes[name] <= MAX_PARSED_BYTES:
            _read_json(folder, name, sizes)
        else:
            _check_ends(folder / name)


def _check_ends(path: Path) -> None:
    """See that a file of megabytes of JSON begins and ends as an object does."""
    with path.open("rb") as file:
        first = file.read(64).lstrip()[:1]
        file.seek(-64, os.SEEK_END)
        last = file.read().rstrip()[-1:]
    if (first, last) != (b"{", b"}"):
        raise ValueError(f"{path.name}: not a JSON object: truncated?")


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
