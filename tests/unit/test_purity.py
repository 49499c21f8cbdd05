"""The kernel's logic has no clock, no socket, no file and no process: its modules import none."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[2] / "kernel"
WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now"}
LOGIC = (
    "actions",
    "admin",
    "broker",
    "deadlines",
    "declaration",
    "dispatch",
    "events",
    "fairness",
    "heartbeat",
    "last_words",
    "lifecycle",
    "lost_requests",
    "memory",
    "memory_advice",
    "memory_watch",
    "model_queue",
    "model_sizes",
    "notices",
    "offences",
    "origins",
    "outcasts",
    "peers",
    "placement",
    "quarantine",
    "questions",
    "ratelimit",
    "request",
    "residency",
    "restarts",
    "retention",
    "roster",
    "running",
    "scheduler",
    "shutdown",
    "supervisor",
    "view",
)
IMPURE = {
    "asyncio",
    "ctypes",
    "datetime",
    "io",
    "multiprocessing",
    "os",
    "pathlib",
    "psutil",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "structlog",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "zmq",
}
IMPURE_BUILTINS = {"open", "print", "input"}


def imported(tree: ast.AST) -> set[str]:
    """Full names of the modules that *tree* imports, wherever in the file it does."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names.add(node.module or "")
    return names


def parsed(module: str) -> ast.AST:
    return ast.parse((KERNEL / f"{module}.py").read_text())


@pytest.mark.parametrize("module", LOGIC)
def test_logic_imports_nothing_impure(module: str) -> None:
    roots = {name.partition(".")[0] for name in imported(parsed(module))}

    assert roots & IMPURE == set()


@pytest.mark.parametrize("module", LOGIC)
def test_logic_imports_only_logic_of_the_kernel(module: str) -> None:
    """What it gets from the shell comes as events."""
    ours = {name for name in imported(parsed(module)) if name.partition(".")[0] == "kernel"}

    assert ours <= {f"kernel.{name}" for name in LOGIC}


@pytest.mark.parametrize("module", LOGIC)
def test_logic_neither_opens_nor_prints(module: str) -> None:
    calls = {
        node.func.id
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert calls & IMPURE_BUILTINS == set()


@pytest.mark.parametrize("module", LOGIC)
def test_logic_draws_chance_from_its_argument(module: str) -> None:
    """`from random import Random` names the type; `import random` would be the shared generator."""
    assert not any(
        isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names)
        for node in ast.walk(parsed(module))
    )


def test_the_list_names_modules_that_exist() -> None:
    assert all(importlib.util.find_spec(f"kernel.{name}") for name in LOGIC)


def test_no_duration_is_measured_by_the_wall_clock() -> None:
    """It jumps, by a day or by an hour twice a year; only what clients read as a date may come from it."""
    users = {
        str(path.relative_to(KERNEL.parent))
        for package in ("kernel", "plugins", "transports", "workers")
        for path in (KERNEL.parent / package).rglob("*.py")
        if "training" not in path.parts and WALL_CLOCK & _attributes(path)
    }

    assert users == {"plugins/openai/shapes.py", "plugins/responses/response.py", "plugins/cli/keys.py"}


def _attributes(path: Path) -> set[str]:
    """Dotted names that a module uses, such as time.time."""
    tree = ast.parse(path.read_text())
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
