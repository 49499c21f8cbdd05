"""Imports a GGUF file as an MLX model folder; runs in the text environment, a process an import.

`python -P -m workers import-gguf FILE --out FOLDER` writes progress as JSON lines on stdout, and at the end
nothing more, or {"error": {"code", "message"}} and exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec import Struct

from transports.errors import MlxdError, RequestError
from workers.gguf.blocks import AFFINE_BITS, GROUP_SIZE, Array, from_float32, to_affine, to_float32
from workers.gguf.families import ROPE_FACTORS, Placed, check_family, configure, llama3_scaling, place
from workers.gguf.metadata import Metadata
from workers.gguf.reader import GgufHeader, Tensor, read_header
from workers.gguf.safetensors_file import DTYPE_BYTES, Entry, SafetensorsWriter
from workers.gguf.tokenizer import TokenizerFiles, convert_tokenizer

# Values converted at a time: bounds the memory, and how often progress is told.
CHUNK_VALUES = 4 * 1024 * 1024


class Plan(Struct, frozen=True, kw_only=True):
    """One tensor of the file and the tensors that it becomes."""

    placed: Placed
    entries: list[Entry]
    # Bits of its affine form; 0 for dense.
    bits: int


def import_gguf(source: Path, target: Path, on_progress: Callable[[float], None]) -> None:
    """Write the model in *source* to the new folder *target*; *target* appears complete or not at all.

    Args:
        source: A GGUF file.
        target: Must not exist yet.
        on_progress: Called with the fraction done, in [0, 1].

    Raises:
        RequestError: The file cannot be imported; the message says what was found and what is supported.
    """
    if target.exists():
        raise RequestError(f"{target}: exists already")
    header = read_header(source)
    metadata = Metadata(header.metadata)
    check_family(metadata)
    tokenizer = convert_tokenizer(metadata)
    _check_tokenizer(tokenizer)
    placed = place(metadata, header.tensors)
    dtype = _dtype(placed)
    plans = [_plan(one, dtype) for one in placed]
    config = configure(metadata, header.tensors) | _quantization(plans) | _token_ids(tokenizer)
    config["torch_dtype"] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype]

    temporary = target.with_name(f".importing-{target.name}-{secrets.token_hex(4)}")
    temporary.mkdir(parents=True)
    try:
        data = np.memmap(source, np.uint8, "r")
        _add_rope_factors(config, header, data)
        _write_weights(temporary / "model.safetensors", data, plans, dtype, on_progress)
        _write_json(temporary / "config.json", config)
        _write_json(temporary / "tokenizer.json", tokenizer.tokenizer, indent=None)
        _write_json(temporary / "tokenizer_config.json", tokenizer.config)
        _write_json(temporary / "generation_config.json", _token_ids(tokenizer))
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _dtype(placed: list[Placed]) -> str:
    """The one dtype of all floats: MLX computes in the widest that it meets."""
    types = {one.source.type.name for one in placed}
    if types == {"F32"}:
        return "F32"
    return "BF16" if types <= {"F32", "BF16"} else "F16"


def _plan(placed: Placed, dtype: str) -> Plan:
    shape, layer = placed.source.shape, placed.layer
    bits = AFFINE_BITS.get(placed.source.type.name, 0)
    if not bits:
        return Plan(placed=placed, bits=0, entries=[Entry(f"{layer}.{placed.part}", dtype, shape)])
    if len(shape) != 2 or placed.part != "weight":
        raise RequestError(f"GGUF tensor {placed.source.name!r}: a quantised tensor of shape {shape}")
    rows, columns = shape
    groups = (rows, columns // GROUP_SIZE)
    entries = [
        Entry(f"{layer}.weight", "U32", (rows, columns * bits // 32)),
        Entry(f"{layer}.scales", "F16", groups),
        Entry(f"{layer}.biases", "F16", groups),
    ]
    return Plan(placed=placed, bits=bits, entries=entries)


def _quantization(plans: list[Plan]) -> dict[str, object]:
    """The quantization section of config.json: the commonest width, and each layer of another."""
    widths = {plan.placed.layer: plan.bits for plan in plans if plan.bits}
    if not widths:
        return {}
    [(common, _)] = collections.Counter(widths.values()).most_common(1)
    section: dict[str, object] = {"group_size": GROUP_SIZE, "bits": common}
    section |= {
        layer: {"group_size": GROUP_SIZE, "bits": bits} for layer, bits in widths.items() if bits != common
    }
    return {"quantization": section, "quantization_config": section}


def _write_weights(
    path: Path, data: Array, plans: list[Plan], dtype: str, on_progress: Callable[[float], None]
) -> None:
    total = sum(plan.placed.source.size_bytes for plan in plans)
    done = 0
    with SafetensorsWriter(path, [entry for plan in plans for entry in plan.entries]) as writer:
        for plan in plans:
            source = plan.placed.source
            rows = source.shape[0] if len(source.shape) > 1 else 1
            blocks = _bytes_of(source, data).reshape(rows, -1)
            order = _row_order(rows, plan.placed.num_rope_heads)
            step = max(1, CHUNK_VALUES * rows // _num_values(plan))
            for start in range(0, rows, step):
                chunk = blocks[order[start : start + step]]
                _write_chunk(writer, plan, chunk, start, dtype)
                done += chunk.nbytes
                on_progress(done / total)


def _write_chunk(writer: SafetensorsWriter, plan: Plan, blocks: Array, start: int, dtype: str) -> None:
    kind = plan.placed.source.type
    parts: tuple[Array, ...]
    if plan.bits:
        parts = to_affine(blocks, kind)
    else:
        try:
            parts = (from_float32(to_float32(blocks, kind), dtype),)
        except OverflowError as e:
            raise RequestError(f"GGUF tensor {plan.placed.source.name!r}: {e}") from None
    for entry, part in zip(plan.entries, parts, strict=True):
        row_bytes = part.shape[-1] * DTYPE_BYTES[entry.dtype]
        writer.write(entry.name, start * row_bytes, np.ascontiguousarray(part).tobytes())


def _row_order(rows: int, num_rope_heads: int) -> Array:
    """Where each row of the MLX tensor is in the file: undoes llama.cpp's interleaving of rope's halves."""
    order = np.arange(rows)
    if not num_rope_heads:
        return order
    return order.reshape(num_rope_heads, -1, 2).swapaxes(1, 2).reshape(rows)


def _num_values(plan: Plan) -> int:
    count = 1
    for size in plan.placed.source.shape:
        count *= size
    return count


def _add_rope_factors(config: dict[str, object], header: GgufHeader, data: Array) -> None:
    tensor = header.tensors.get(ROPE_FACTORS)
    if tensor is None:
        return
    factors = [float(one) for one in to_float32(_bytes_of(tensor, data).copy(), tensor.type)]
    config["rope_scaling"] = llama3_scaling(factors, float(str(config["rope_theta"])))


def _bytes_of(tensor: Tensor, data: Array) -> Array:
    return data[tensor.offset : tensor.offset + tensor.size_bytes]


def _token_ids(tokenizer: TokenizerFiles) -> dict[str, object]:
    ids: dict[str, object] = {"eos_token_id": tokenizer.eos_token_ids}
    if tokenizer.bos_token_id is not None:
        ids["bos_token_id"] = tokenizer.bos_token_id
    return ids


def _check_tokenizer(tokenizer: TokenizerFiles) -> None:
    from tokenizers import Tokenizer  # noqa: PLC0415 - only to see that it takes what we made

    try:
        Tokenizer.from_str(json.dumps(tokenizer.tokenizer))
    except Exception as e:  # noqa: BLE001 - the library raises nothing more special
        raise RequestError(f"GGUF tokenizer: {e}") from None


def _write_json(path: Path, value: object, indent: int | None = 2) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=indent)
        file.flush()
        os.fsync(file.fileno())


def main(argv: list[str]) -> int:
    """Run an import as a process of its own; the exit status."""
    parser = argparse.ArgumentParser(prog="workers import-gguf")
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    told = -1

    def on_progress(fraction: float) -> None:
        nonlocal told
        if (percent := int(fraction * 100)) > told:
            told = percent
            _say({"phase": "convert", "fraction": percent / 100})

    try:
        import_gguf(arguments.file, arguments.out, on_progress)
    except MlxdError as e:
        return _fail(e.code, e.message)
    except OSError as e:
        return _fail("model_unavailable", f"{e.filename or arguments.out}: {e.strerror}")
    return 0


def _say(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


def _fail(code: str, message: str) -> int:
    _say({"error": {"code": code, "message": message}})
    return 1
