"""An answer on its way to the screen: deltas to a writer, waiting and thoughts to views."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from plugins.cli.progress import ProgressView
from plugins.cli.sanitize import Sanitizer
from plugins.cli.thoughts import ThoughtView
from plugins.submission import Update
from transports.messages import Delta, Done, Prefill, Progress, ReasoningDelta


class Answer:
    """What has arrived of one answer; also after its reading broke off."""

    def __init__(self) -> None:
        # As the model wrote it.
        self.text = ""
        # How it ended well; None before, and when it did not.
        self.done: Done | None = None

    async def read(
        self,
        updates: AsyncIterator[Update],
        *,
        name: str = "",
        view: ProgressView | None = None,
        thoughts: ThoughtView | None = None,
        write: Callable[[str], None] = lambda _: None,
        is_raw: bool = False,
    ) -> None:
        """Read all updates, and write the text as it comes.

        Args:
            updates: A submission.
            name: What the progress view calls the wait.
            view: Closed before the first text or thought that is shown; None shows nothing.
            thoughts: Takes what the model thinks; None shows nothing.
            write: Takes text without control sequences unless *is_raw*.
            is_raw: Pass on what the model wrote.

        Raises:
            MlxdError: The bad end of the request.
        """
        sanitizer = Sanitizer()
        try:
            async for update in updates:
                match update:
                    case Progress() | Prefill():
                        if view:
                            view.update(name, update)
                    case ReasoningDelta(text=text):
                        if thoughts and thoughts.is_live:
                            if view:
                                view.close()
                            thoughts.write(text)
                    case Delta(text=text):
                        if view and not self.text:
                            view.close()
                        if thoughts:
                            thoughts.close(is_answered=True)
                        self.text += text
                        write(text if is_raw else sanitizer.feed(text))
                    case Done():
                        self.done = update
        finally:
            if thoughts:
                thoughts.close()
