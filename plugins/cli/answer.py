"""An answer on its way to the screen: deltas to a writer, waiting to a progress view."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from plugins.cli.progress import ProgressView
from plugins.cli.sanitize import Sanitizer
from plugins.submission import Update
from transports.messages import Delta, Done, Prefill, Progress


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
        write: Callable[[str], None] = lambda _: None,
        is_raw: bool = False,
    ) -> None:
        """Read all updates, and write the text as it comes.

        Args:
            updates: A submission.
            name: What the progress view calls the wait.
            view: Closed before the first text; None shows nothing.
            write: Takes text without control sequences unless *is_raw*.
            is_raw: Pass on what the model wrote.

        Raises:
            MlxdError: The bad end of the request.
        """
        sanitizer = Sanitizer()
        async for update in updates:
            match update:
                case Progress() | Prefill():
                    if view:
                        view.update(name, update)
                case Delta(text=text):
                    if view and not self.text:
                        view.close()
                    self.text += text
                    write(text if is_raw else sanitizer.feed(text))
                case Done():
                    self.done = update
