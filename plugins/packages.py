"""Whether the import packages that a kernel would be started from are mlxd's own.

Their names are general: another distribution may bring a `kernel` of its own (docs/adr/0001).
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
from importlib.metadata import Distribution, distribution
from pathlib import Path

from transports.errors import ConfigError

PACKAGES = ("kernel", "plugins", "transports", "workers")
ADVICE = "install mlxd in an environment of its own (`uv tool install`, `pipx install`, or a new venv)"


def check_packages() -> None:
    """Look at where the packages are and whether they are as mlxd installed them.

    Raises:
        ConfigError: Another distribution has put its own in their place.
    """
    ours = Path(__file__).parents[1]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin) if spec and spec.origin else None
        if origin is None or origin.parent.parent != ours:
            raise ConfigError(f"the package {name} at {origin} is not mlxd's; {ADVICE}")
    if changed := changed_packages(distribution("mlxd")):
        raise ConfigError(f"the package {changed[0]} in {ours} was overwritten by another; {ADVICE}")


def changed_packages(installed: Distribution) -> list[str]:
    """Those of our packages that are not as *installed* recorded them; an editable install records none."""
    changed = []
    for file in installed.files or ():
        if file.name != "__init__.py" or file.parent.as_posix() not in PACKAGES or file.hash is None:
            continue
        digest = hashlib.new(file.hash.mode, Path(file.locate()).read_bytes()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            changed.append(file.parent.as_posix())
    return changed
