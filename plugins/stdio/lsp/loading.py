"""Shows in the editor how far a model is that is being loaded (LSP's work done progress)."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from plugins.stdio.jsonrpc import RpcError
from transports.errors import MlxdError
from transports.messages import Phase, Progress
from transports.reports import Admin, DoneReply

if TYPE_CHECKING:
    from plugins.client import KernelClient
    from plugins.stdio.connection import Connection

# What is worth a word; a request that waits for its turn is not.
_WORDS: dict[Phase, str] = {
    "environment": "building the environment",
    "download": "downloading",
    "convert": "converting",
    "start": "starting",
    "load": "loading",
}


class Loading:
    """The models that are being loaded, each with a progress of its own.

    Requests do not carry it: each keystroke cancels one, and the model goes on loading.
    """

    def __init__(self, connection: Connection) -> None:
        # Whether the editor can show it; known with `initialize`.
        self.can_show = False
        self._connection = connection
        self._numbers = itertools.count(1)
        # By model.
        self._shown: dict[str, asyncio.Task[None]] = {}

    def show(self, client: KernelClient, model: str, phase: Phase) -> None:
        """A request waits in *phase*: show how its model gets on, until it is loaded."""
        if self.can_show and phase in _WORDS and model not in self._shown:
            self._shown[model] = task = asyncio.create_task(self._follow(client, model))
            task.add_done_callback(lambda _: self._shown.pop(model))

    async def close(self) -> None:
        """Stop showing."""
        for task in (tasks := list(self._shown.values())):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _follow(self, client: KernelClient, model: str) -> None:
        token = f"mlxd-load-{next(self._numbers)}"
        try:
            await self._connection.ask("window/workDoneProgress/create", {"token": token})
        except (RpcError, MlxdError):
            return  # It does not want to show it.
        last = ""

        def tell(kind: str, **value: object) -> None:
            self._connection.notify("$/progress", {"token": token, "value": {"kind": kind, **value}})

        def report(progress: Progress) -> None:
            nonlocal last
            if (words := _in_words(progress)) and words != last:
                last = words
                tell("report", message=words)

        tell("begin", title=f"mlxd: {model}", cancellable=False)
        end = "loaded"
        try:
            await client.admin("load", Admin(model=model), DoneReply, report)
        except MlxdError as e:
            end = e.message
        tell("end", message=end)


def _in_words(progress: Progress) -> str:
    words = _WORDS.get(progress.phase, "")
    # Whole percents: an editor draws each report.
    return words if progress.fraction is None or not words else f"{words} {progress.fraction:.0%}"
