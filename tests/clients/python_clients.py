"""Which Python clients are tried, where their packages lie, and how they are installed.

As a program it installs them: `python tests/clients/python_clients.py FOLDER [CLIENT...]`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Of each the newest: what people get today. transformers: the tokenizer of lm-eval's loglikelihoods.
PACKAGES = {
    "openai": ("openai",),
    "anthropic": ("anthropic",),
    "langchain": ("langchain-openai", "langchain-tests"),
    "litellm": ("litellm",),
    "llm": ("llm",),
    "instructor": ("instructor",),
    "aider": ("aider-chat",),
    "lm-eval": ("lm-eval[api]", "transformers"),
}
# Names the folder: each client has an environment of its own there, as their needs exclude each other's.
FOLDER = "MLXD_TEST_CLIENTS"


def program(client: str, name: str) -> Path:
    """The program *name* of a client's environment; it may not be there."""
    return Path(os.environ.get(FOLDER, "/nonexistent")) / client / "bin" / name


def install(folder: Path, clients: list[str]) -> None:
    """Make what is missing in *folder*."""
    for client in clients:
        environment = folder / client
        if (environment / "bin" / "python").exists():
            continue
        print(f"installing {client}", flush=True)
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", environment], check=True)
        python = environment / "bin" / "python"
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, *PACKAGES[client]], check=True)


if __name__ == "__main__":
    install(Path(sys.argv[1]).resolve(), sys.argv[2:] or [*PACKAGES])
