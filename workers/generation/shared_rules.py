"""Rules of a grammar that are there once, whichever tools and arguments they are of. Knows no llguidance."""

from __future__ import annotations

from collections.abc import Iterator


class SharedRules:
    """Gives a name to what a rule says; the same name to the same."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._lazy: set[str] = set()

    def name(self, body: str, *, is_terminal: bool = False, is_lazy: bool = False) -> str:
        """Of the rule that says *body*.

        Args:
            is_terminal: It is of a text, or of texts; else it is of other rules.
            is_lazy: It is of a terminal, and over as soon as that may be.
        """
        if is_lazy:
            self._lazy.add(body)
        kind = "SHARED_" if is_terminal else "shared_"
        return self._names.setdefault(body, f"{kind}{len(self._names)}")

    def lines(self) -> Iterator[str]:
        """All of them."""
        for body, name in self._names.items():
            yield f"{name}{'[lazy]' if body in self._lazy else ''}: {body}"
