"""Whether this environment can run workers of a kind: `python -P -m workers smoke LOCK LOADER MODULE...`.

Versions are compared with the lock file, the libraries imported, and with mlx one small matrix multiplied.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from transports.errors import PluginError
from workers.kinds import loader

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def smoke(lock: str, loader_name: str, *modules: str) -> int:
    """0 if all is well; otherwise what is wrong stands on stderr.

    Args:
        lock: The path of the lock file. Environments that were built before they kept a copy have none.
        loader_name: "module:function" of the kind.
        modules: What else its workers cannot do without.
    """
    path = Path(lock)
    if path.is_file() and (wrong := unexpected(path.read_text(encoding="utf-8"))):
        print(f"error: not as locked: {', '.join(wrong)}", file=sys.stderr)
        return 1
    for name in modules:
        import_module(name)
    try:
        loader(loader_name)
    except PluginError as e:
        print(f"error: {e.message}", file=sys.stderr)
        return 1
    return _multiply()


def unexpected(lock: str) -> list[str]:
    """What is installed here but not in *lock*, or in another version.

    A name may be pinned twice, for different Pythons; which markers hold is not looked at.
    """
    pins: dict[str, set[str]] = {}
    for name, version in _PIN.findall(lock):
        pins.setdefault(_normal(name), set()).add(version)
    found = {_normal(one.name): one.version for one in distributions() if _is_ours(one.locate_file(""))}
    return sorted(
        f"{name} {version}" for name, version in found.items() if version not in pins.get(name, set())
    )


def _is_ours(place: object) -> bool:
    # PYTHONPATH comes first on sys.path and may hold metadata of its own.
    return str(place).startswith(sys.prefix)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _multiply() -> int:
    if find_spec("mlx") is None:
        return 0
    import mlx.core as mx  # noqa: PLC0415 - absent where a kind does not use it

    product = mx.array([[1.0, 2.0]]) @ mx.array([[3.0], [4.0]])
    if product.item() != 11.0:
        print(f"error: mlx: 1*3 + 2*4 gave {product.item()}", file=sys.stderr)
        return 1
    return 0
