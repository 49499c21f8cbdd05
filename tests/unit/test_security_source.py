"""What may not stand in our source: ways to run data as code, and sockets that drop messages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for package in ("kernel", "plugins", "workers", "transports")
    for path in (ROOT / package).rglob("*.py")
)
# Modules that turn bytes into objects of any type.
FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
}
FORBIDDEN_NAMES = {"eval", "exec", "compile"}
# Attribute calls that unpickle or run a shell.
FORBIDDEN_CALLS = {
    ("torch", "load"),
    ("numpy", "load"),
    ("np", "load"),
    ("os", "system"),
    ("os", "popen"),
    ("socket", "recv_pyobj"),
    ("socket", "send_pyobj"),
}


def findings(tree: ast.AST) -> set[str]:
    """What of the forbidden is in *tree*."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {a.name for a in names if a.name.partition(".")[0] in FORBIDDEN_MODULES}
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in FORBIDDEN_MODULES:
                found.add(module)
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_NAMES:
                found.add(name)
            case ast.Attribute(value=ast.Name(id=owner), attr=attr) if (owner, attr) in FORBIDDEN_CALLS:
                found.add(f"{owner}.{attr}")
            case ast.Attribute(attr="recv_pyobj" | "send_pyobj" as attr):
                found.add(attr)
            case ast.keyword(
                arg="shell" | "trust_remote_code" | "allow_pickle" as name, value=ast.Constant(value=True)
            ):
                found.add(f"{name}=True")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_turns_data_into_code(path: Path) -> None:
    assert findings(ast.parse(path.read_text())) == set()


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml.loader",
        "def f():\n    import marshal",
        "eval('1')",
        "exec(text)",
        "torch.load(path)",
        "link.socket.recv_pyobj()",
        "subprocess.run(command, shell=True)",
        "load(path, trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert findings(ast.parse(code))


def compared_secrets(tree: ast.AST) -> set[str]:
    """What is compared by `==` or `in` although the time that takes would tell of it."""
    return {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(op, (ast.Eq, ast.NotEq, ast.In, ast.NotIn)) for op in node.ops)
        for side in (node.left, *node.comparators)
        if ast.unparse(side).rpartition(".")[2].strip("_") in ("secret", "digest")
    }


def test_no_secret_is_compared_in_a_time_that_tells() -> None:
    """vLLM CVE-2025-59425."""
    paths = [path for path in SOURCES if path.is_relative_to(ROOT / "plugins" / "http")]
    paths.append(ROOT / "plugins" / "keys.py")

    assert [found for path in paths for found in compared_secrets(ast.parse(path.read_text()))] == []
    assert compared_secrets(ast.parse("given == key.digest"))
    assert compared_secrets(ast.parse("secret in known"))
    assert "hmac.compare_digest(" in (ROOT / "plugins" / "http" / "keyring.py").read_text()


def test_only_one_place_submits_for_http() -> None:
    """There keys are limited to their models and priorities, whatever the route."""
    found = {
        path.name
        for path in SOURCES
        if path.is_relative_to(ROOT / "plugins" / "http") and "client.submit(" in path.read_text()
    }

    assert found == {"exchange.py"}


# aiohttp's ways to answer with a file (CVE-2024-23334), and to leave HTTP.
UNWANTED_ANSWERS = {"FileResponse", "StaticResource", "add_static", "static", "sendfile", "WebSocketResponse"}


def attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_no_file_is_served_by_its_name() -> None:
    paths = [path for path in SOURCES if path.is_relative_to(ROOT / "plugins" / "http")]

    assert [path.name for path in paths if attributes(ast.parse(path.read_text())) & UNWANTED_ANSWERS] == []
    assert attributes(ast.parse("web.FileResponse(path)\nfrom x import static")) & UNWANTED_ANSWERS


def test_every_router_tells_when_a_peer_is_gone() -> None:
    """Each function that makes a ROUTER sets ROUTER_MANDATORY and forbids hand-over."""
    makers = [
        function
        for path in SOURCES
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        and "zmq.ROUTER)" in ast.unparse(function)
    ]

    assert makers
    for maker in makers:
        assert "setsockopt(zmq.ROUTER_MANDATORY, 1)" in ast.unparse(maker)
        assert "setsockopt(zmq.ROUTER_HANDOVER, 0)" in ast.unparse(maker)


def test_no_socket_is_bound_beyond_this_machine() -> None:
    """tcp waits for CURVE."""
    texts = [
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]

    assert [text for text in texts if text.startswith("tcp://")] == []
