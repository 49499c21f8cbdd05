"""Whether this environment can run workers of a kind: `python -P -m workers smoke KIND`.

Versions are compared with the lock file, the libraries imported, and one small matrix multiplied.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

# Kind -> the modules that its workers cannot do without.
MODULES = {
    "text": ("mlx.core", "mlx_lm", "llguidance", "gguf", "msgpack", "msgspec", "psutil", "structlog", "zmq"),
    # The model is one of those that are served most: importing it patches transformers' processors.
    "vision": (
        *("mlx.core", "mlx_lm.generate", "mlx_vlm.utils", "mlx_vlm.models.qwen2_5_vl"),
        *("PIL.Image", "llguidance", "msgpack", "msgspec", "psutil", "structlog", "zmq"),
    ),
}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def smoke(kind: str) -> int:
    """0 if all is well; otherwise what is wrong stands on stderr."""
    if kind not in MODULES:
        print(f"error: worker kind {kind!r} has no test", file=sys.stderr)
        return 2
    lock = Path(__file__).parent / kind / "requirements.lock"
    if wrong := unexpected(lock.read_text(encoding="utf-8")):
        print(f"error: not as locked: {', '.join(wrong)}", file=sys.stderr)
        return 1
    for name in MODULES[kind]:
        __import__(name)
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
    import mlx.core as mx  # noqa: PLC0415 - absent outside a worker's environment

    product = mx.array([[1.0, 2.0]]) @ mx.array([[3.0], [4.0]])
    if product.item() != 11.0:
        print(f"error: mlx: 1*3 + 2*4 gave {product.item()}", file=sys.stderr)
        return 1
    return 0
