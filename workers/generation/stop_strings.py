"""Stop strings in streamed text, across token borders. Knows nothing about models."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text on until a stop string is complete; holds back what may become one.

    The result does not depend on how the text is cut into pieces: generation ends at the first
    character that completes a stop string, and of several that it completes the longest counts.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        # The stop string that was found. Nothing may be fed after it.
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """Take new text; what may be shown now. Sets `found` when a stop string is complete."""
        if not self._stops:
            return text
        text = self._held + text
        matches = [(at + len(stop), -len(stop), stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if matches:
            end, _, self.found = min(matches)
            self._held = ""
            return text[: end - len(self.found)]
        shown = len(text) - num_to_hold(text, self._stops)
        self._held = text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """The text held back, at the end of a generation; nothing is after a stop string."""
        held, self._held = self._held, ""
        return held


def num_to_hold(text: str, words: Sequence[str]) -> int:
    """Length of the longest end of *text* that begins one of *words*."""
    longest = min(len(text), max(map(len, words), default=1) - 1)
    for length in range(longest, 0, -1):
        end = text[-length:]
        if any(word.startswith(end) for word in words):
            return length
    return 0
