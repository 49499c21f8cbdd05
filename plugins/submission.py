"""One request as a frontend sees it: what comes for it, and the right to cancel it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType

from plugins.vectors import NumberRows
from transports.errors import MlxdError, WorkerError
from transports.messages import Done, Item, Progress

# Of vectors the numbers themselves, not the item that says where they are.
Update = Progress | Item | NumberRows


def not_cancelled(end: Done) -> Done:
    """*end*, of a request that its frontend did not cancel.

    Raises:
        WorkerError: Somebody else did.
    """
    if end.finish_reason == "cancelled":
        raise WorkerError("the request was cancelled inside the server")
    return end


class Submission(AsyncIterator[Update]):
    """The updates of one request, and the right to cancel it.

    As a context manager it cancels what has not ended when the block is left.
    """

    def __init__(
        self, request_id: str, cancel: Callable[[str], None], release: Callable[[], None] = lambda: None
    ) -> None:
        """A request that is being sent.

        Args:
            request_id: Its id.
            cancel: Tells the kernel that it is no longer wanted.
            release: Called once, when it has ended or the block was left.
        """
        self.id = request_id
        self._cancel = cancel
        self._release: Callable[[], None] | None = release
        self._updates: deque[Update | MlxdError] = deque()
        # Of whoever waits for the next update; resolved when one comes.
        self._waiter: asyncio.Future[None] | None = None
        self._listener: Callable[[], None] | None = None
        self._ended = False

    def __aiter__(self) -> Submission:
        return self

    async def __anext__(self) -> Update:
        """The next update.

        Raises:
            MlxdError: The bad end of the request.
            StopAsyncIteration: After Done.
        """
        while not self._updates:
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        update = self._updates.popleft()
        if isinstance(update, MlxdError):
            raise update
        return update

    def ready(self) -> list[Update]:
        """Updates that arrived and were not read yet, without waiting; a bad end stays for `__anext__`."""
        taken: list[Update] = []
        while self._updates and not isinstance(self._updates[0], MlxdError):
            taken.append(self._updates.popleft())  # type: ignore[arg-type]
        return taken

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will arrive."""
        return self._ended

    def listen(self, listener: Callable[[], None]) -> None:
        """Have *listener* called whenever something arrives; it takes the place of the one before."""
        self._listener = listener

    def cancel(self) -> None:
        """Say that the answer is no longer wanted; the end still comes."""
        if not self._ended:
            self._cancel(self.id)

    async def __aenter__(self) -> Submission:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.cancel()
        finally:
            self._let_go()

    def put(self, update: Update | MlxdError) -> None:
        """Called by the client when something arrived; what comes after the end is dropped."""
        if self._ended:
            return
        self._updates.append(update)
        self._ended = isinstance(update, (Done, MlxdError))
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
        if self._listener:
            self._listener()
        if self._ended:
            self._let_go()

    def _let_go(self) -> None:
        release, self._release = self._release, None
        if release:
            release()
