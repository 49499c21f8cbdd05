"""A worker environment whose Python is a program of a test's own, and a model that is served by it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from kernel.environment_build import MARKER, Marker, environment_name

MODEL = "text/stand-in"
LOCK = Path(__file__).parents[2] / "workers" / "text" / "requirements.lock"
LIAR = Path(__file__).with_name("lying_worker.py")


def stand_in(home: Path, program: str) -> None:
    """Have workers of kind text in *home* run *program*, which begins with its own "#!" line."""
    environment = home / "envs" / environment_name("text", LOCK)
    (environment / "bin").mkdir(parents=True)
    python = environment / "bin" / "python"
    python.write_text(program)
    python.chmod(0o755)
    marker = Marker(lock_sha256="", python="", size_bytes=0)
    (environment / MARKER).write_bytes(msgspec.json.encode(marker))
    _make_model(home / "models" / MODEL)


def stand_in_liar(home: Path) -> None:
    """Workers of kind text lie as their prompts tell them: see lying_worker.py."""
    stand_in(home, f"#!{sys.executable}\n{LIAR.read_text()}")


def _make_model(folder: Path) -> None:
    """As much of a model folder as the catalog looks at."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}).encode()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 1000}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
