"""Which coding agents are tried, how each is pointed at mlxd, and how they are installed.

As a program it installs them: `python tests/clients/coding_agents.py FOLDER [AGENT...]`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from python_clients import FOLDER

FILE_NAME = "calc.py"
TASK = "Mend calc.py"


@dataclass(frozen=True)
class Agent:
    """One of npm's, which comes with its binary.

    Attributes:
        package: Its name there; of each the newest is tried.
        program: What it installs, with what has it do one task and end.
        reads: Its tool for it, with the names of its arguments; None: it runs commands only.
        edits: The same, for a change of a file.
        told_edited: What the result of a change has in it.
        settings: Of an address and a model: its files below the home, and its variables.
    """

    package: str
    program: tuple[str, ...]
    told_edited: str
    edits: Callable[[str], tuple[str, Mapping[str, object]]]
    reads: Callable[[str], tuple[str, Mapping[str, object]]] | None
    settings: Callable[[str, str], tuple[Mapping[str, str], Mapping[str, str]]]


def _codex(url: str, model: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    config = f"""
model = "{model}"
model_provider = "mlxd"
# OpenAI runs it.
web_search = "disabled"

[model_providers.mlxd]
name = "mlxd"
base_url = "{url}/v1"
wire_api = "responses"
"""
    return {".codex/config.toml": config}, {}


def _claude(url: str, model: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return {}, {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": "none",
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def _opencode(url: str, model: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{url}/v1", "apiKey": "none"},
        "models": {model: {"limit": {"context": 32768, "output": 8192}}},
    }
    named = f"mlxd/{model}"
    config = {"model": named, "small_model": named, "provider": {"mlxd": provider}}
    offline = (f"OPENCODE_DISABLE_{name}" for name in ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD"))
    return {".config/opencode/opencode.json": json.dumps(config)}, dict.fromkeys(offline, "1")


def _continue(url: str, model: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    known = {
        "name": "mlxd",
        "provider": "openai",
        "model": model,
        "apiBase": f"{url}/v1",
        "apiKey": "none",
        "capabilities": ["tool_use"],
    }
    # JSON is YAML.
    config = json.dumps({"name": "local", "version": "1.0.0", "schema": "v1", "models": [known]})
    return {".continue/config.yaml": config}, {"CONTINUE_TELEMETRY_ENABLED": "0"}


def _pi(url: str, model: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    known = {"id": model, "reasoning": True, "contextWindow": 32768, "maxTokens": 8192}
    provider = {
        "baseUrl": f"{url}/v1",
        "api": "openai-completions",
        "apiKey": "none",
        "models": [known],
    }
    return {".pi/agent/models.json": json.dumps({"providers": {"mlxd": provider}})}, {"PI_OFFLINE": "1"}


def _qwen(url: str, model: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return {}, {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none", "OPENAI_MODEL": model}


AGENTS = {
    "claude-code": Agent(
        package="@anthropic-ai/claude-code",
        program=("claude", "--permission-mode", "acceptEdits", "-p"),
        reads=lambda file: ("Read", {"file_path": file}),
        edits=lambda file: ("Edit", {"file_path": file, "old_string": "a - b", "new_string": "a + b"}),
        told_edited="has been updated",
        settings=_claude,
    ),
    "codex": Agent(
        package="@openai/codex",
        program=("codex", "exec", "--dangerously-bypass-approvals-and-sandbox"),
        reads=None,
        edits=lambda file: ("exec_command", {"cmd": f"sed -i 's/a - b/a + b/' {file}"}),
        told_edited="exited",
        settings=_codex,
    ),
    "opencode": Agent(
        package="opencode-ai",
        program=("opencode", "run"),
        reads=lambda file: ("read", {"filePath": file}),
        edits=lambda file: ("edit", {"filePath": file, "oldString": "a - b", "newString": "a + b"}),
        told_edited="applied successfully",
        settings=_opencode,
    ),
    "continue": Agent(
        package="@continuedev/cli",
        program=("cn", "--auto", "--config", ".continue/config.yaml", "-p"),
        reads=lambda file: ("Read", {"filepath": file}),
        edits=lambda file: ("Edit", {"file_path": file, "old_string": "a - b", "new_string": "a + b"}),
        told_edited="Successfully",
        settings=_continue,
    ),
    "pi": Agent(
        package="@mariozechner/pi-coding-agent",
        program=("pi", "--provider", "mlxd", "-p"),
        reads=lambda file: ("read", {"path": file}),
        edits=lambda file: ("edit", {"path": file, "edits": [{"oldText": "a - b", "newText": "a + b"}]}),
        told_edited="Successfully",
        settings=_pi,
    ),
    "qwen-code": Agent(
        package="@qwen-code/qwen-code",
        program=("qwen", "--auth-type", "openai", "--yolo", "-p"),
        reads=lambda file: ("read_file", {"file_path": file}),
        edits=lambda file: ("edit", {"file_path": file, "old_string": "a - b", "new_string": "a + b"}),
        told_edited="has been",
        settings=_qwen,
    ),
}


def program(agent: str) -> Path:
    """The program of an agent; it may not be there."""
    folder = Path(os.environ.get(FOLDER, "/nonexistent"))
    return folder / agent / "node_modules" / ".bin" / AGENTS[agent].program[0]


def install(folder: Path, agents: list[str]) -> None:
    """Make what is missing in *folder*."""
    for agent in agents:
        if (folder / agent / "node_modules").exists():
            continue
        print(f"installing {agent}", flush=True)
        (folder / agent).mkdir(parents=True, exist_ok=True)
        (folder / agent / "package.json").write_text('{"private": true}')
        npm = shutil.which("npm") or "npm"
        # "latest": else an old one is taken that is content with an older Node.
        command = [npm, "install", "--no-audit", "--no-fund", f"{AGENTS[agent].package}@latest"]
        subprocess.run(command, cwd=folder / agent, check=True)


if __name__ == "__main__":
    install(Path(sys.argv[1]).resolve(), sys.argv[2:] or [*AGENTS])
