"""What a frontend is to the process that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

from plugins.client import KernelClient
from transports.errors import ConfigError
from transports.settings import MediaSettings

T = TypeVar("T", bound=msgspec.Struct)


@runtime_checkable
class Frontend(Protocol):
    """A door to mlxd: built by a `Build`, opened, served, closed.

    Found by name through the entry-point group `mlxd.frontends`; runs in a process of its own.
    """

    async def open(self) -> str:
        """Take from the system what it needs, such as a port.

        Returns:
            Where it listens, for people: "http://127.0.0.1:11440".

        Raises:
            PluginError: It cannot start, in one line with the remedy.
        """
        ...

    async def serve(self, client: KernelClient) -> None:
        """Serve until `client.stopping` is set; then take nothing new, finish what runs, return."""
        ...

    async def close(self) -> None:
        """Give back what `open` took."""
        ...


# The settings section of its kind, as plain values, and [media] -> a frontend. Raises ConfigError.
Build: TypeAlias = Callable[[Mapping[str, object], MediaSettings], Frontend]


def check_options(section: str, given: Mapping[str, object], schema: type[T]) -> T:
    """The settings of a frontend, as its own schema has them.

    Args:
        section: Its name.
        given: What the settings say.
        schema: A struct; derive it from `transports.settings.Section` and an unknown key is an error.

    Raises:
        ConfigError: They do not fit.
    """
    try:
        return msgspec.convert(dict(given), schema)
    except msgspec.ValidationError as e:
        raise ConfigError(f"[{section}]: {e}") from None
