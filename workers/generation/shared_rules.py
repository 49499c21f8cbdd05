"""Rules of a grammar that are there once, whichever tools and arguments they are of. Knows no llguidance."""

from __future__ import annotations

from collections.abc import Iterator


class SharedRules:
    """Gives a name to what a rule says; the same name to the same."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, body: str, *, is_terminal: bool = False) -> str:
        """Of the rule that says *body*.

        Args:
            is_terminal: It is of a text, or of texts; else it is of other rules.
        """
        kind = "SHARED_" if is_terminal else "shared_"
        return self._names.setdefault(body, f"{kind}{len(self._names)}")

    def lines(self) -> Iterator[str]:
        """All of them."""
        yield from (f"{name}: {body}" for body, name in self._names.items())
