"""The models that exist, as last seen on the disk, and the requests that wait for another look."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

from kernel.actions import Emit, Log, ScanCatalog
from kernel.events import CatalogScanned, MessageReceived
from kernel.model_sizes import ModelSizes
from transports.errors import ModelNotFound, ModelUnavailable, QueueFull, TaskNotSupported
from transports.reports import ModelInfo
from transports.settings import KernelSettings, ModelsSettings

# After a look at the disk for a name that is not known the next one waits for so many times as long as it
# took, but no longer than this: who asks for nonsense again and again must not slow the others down. With
# 1,000 models a look takes 0.1 s of a core, with a few of them a millisecond.
PAUSE_PER_LOOK = 4
MAX_PAUSE_S = 0.5
# Names told to somebody who asked for an unknown model.
MAX_NAMES_TOLD = 20
# Of a task that somebody made up, characters.
MAX_TASK_TOLD = 32


class Roster:
    """Models by name or alias. What is not in it is looked for on the disk once before it is refused."""

    def __init__(self, settings: KernelSettings, models: ModelsSettings, emit: Emit) -> None:
        self._settings = settings
        # Models of which the settings say something.
        self._options = models.options
        # An alias goes before a model of that name.
        self._aliases = models.aliases
        self._emit = emit
        self._models: dict[str, ModelInfo] = {}
        self._sizes: Mapping[str, ModelSizes] = {}
        # Why the last look at the disk failed; "" if it did not.
        self._scan_error = ""
        # Requests for models that were unknown, or broken, when they came.
        self._parked: list[MessageReceived] = []
        # Since when the disk is being looked at for such; None: it is not.
        self._looking_since_s: float | None = None
        # When it may be again.
        self._paused_until_s = -math.inf
        # When it is next; None: nobody waits, or it is being looked at.
        self._scan_due_s: float | None = None

    def __iter__(self) -> Iterator[ModelInfo]:
        """The models that can be asked for by their own names."""
        return (model for name, model in self._models.items() if name not in self._aliases)

    def aliases(self) -> Iterator[tuple[str, ModelInfo]]:
        """Other names of models that are here."""
        for alias, name in self._aliases.items():
            if model := self._models.get(name):
                yield alias, model

    def resolve(self, name: str) -> str:
        """The own name of the model that *name* stands for."""
        return self._aliases.get(name, name)

    def seen(self, name: str) -> ModelInfo | None:
        """The model that *name* stands for, whether it can be served or not."""
        return self._models.get(self.resolve(name))

    def get(self, name: str, task: str = "") -> ModelInfo | None:
        """The model that *name* stands for, if it can be served as far as its files tell.

        Raises:
            TaskNotSupported: It does not do *task*.
        """
        model = self.seen(name)
        return None if model is None or model.error else self._able(model, task)

    def sizes(self, name: str) -> ModelSizes:
        """What the model of that name needs of the memory, as far as its files tell."""
        return self._sizes.get(name, ModelSizes())

    def look_up(self, name: str) -> ModelInfo:
        """The model that *name* stands for, also one whose files cannot be served.

        Raises:
            ModelNotFound: There is none.
            ModelUnavailable: Nobody knows: the disk could not be looked at.
        """
        model = self.seen(name)
        if model is None and self._scan_error:
            raise ModelUnavailable(
                f"model: {name!r} was not seen, and the model folders cannot be read: {self._scan_error}",
                param="model",
            )
        if model is None:
            known = sorted({*self._models, *(alias for alias, _ in self.aliases())})
            told = ", ".join(known[:MAX_NAMES_TOLD]) + (", ..." if len(known) > MAX_NAMES_TOLD else "")
            alias = f" stands for {self._aliases[name]!r}, which" if name in self._aliases else ""
            raise ModelNotFound(f"model: {name!r}{alias} is not here; known: {told or 'none'}", param="model")
        return model

    def find(self, name: str, task: str = "") -> ModelInfo:
        """The model that *name* stands for.

        Raises:
            ModelNotFound: There is none.
            ModelUnavailable: Its files cannot be served.
            TaskNotSupported: It does not do *task*.
        """
        model = self.look_up(name)
        if model.error:
            raise ModelUnavailable(f"{model.name}: {model.error}", param="model")
        return self._able(model, task)

    def _able(self, model: ModelInfo, task: str) -> ModelInfo:
        """*model*, if it does *task*: nobody waits for gigabytes to load to be told then."""
        if not task or not model.tasks or task in model.tasks:
            return model
        # Names no others: whoever asks may be allowed this one alone.
        raise TaskNotSupported(
            f"model: {model.name} does {' and '.join(model.tasks)}, not {task[:MAX_TASK_TOLD]}", param="model"
        )

    def park(self, event: MessageReceived, now: float) -> None:
        """Keep a request until the disk was looked at again: its model may have come, or been mended.

        Raises:
            QueueFull: Too many wait for that, or too many bytes.
        """
        num_bytes = sum(parked.message.num_bytes for parked in (*self._parked, event))
        is_full = len(self._parked) >= self._settings.max_queued
        if is_full or num_bytes > self._settings.max_queued_bytes:
            raise QueueFull(f"{len(self._parked)} requests for unknown models wait already", retry_after_s=1)
        if not self._parked and self._looking_since_s is None:
            self._scan_due_s = max(now, self._paused_until_s)
        self._parked.append(event)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Look at the disk when it is time."""
        if self._scan_due_s is not None and self._scan_due_s <= now:
            self._looking_since_s, self._scan_due_s = now, None
            self._emit(ScanCatalog())

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._scan_due_s

    def scanned(self, scan: CatalogScanned, now: float) -> list[MessageReceived]:
        """The disk was looked at; the requests that waited for it."""
        if self._looking_since_s is not None:
            took_s, self._looking_since_s = now - self._looking_since_s, None
            self._paused_until_s = now + min(took_s * PAUSE_PER_LOOK, MAX_PAUSE_S)
        self._scan_due_s, self._scan_error = None, scan.error
        is_first, self._models = not self._models, {model.name: model for model in scan.models}
        if is_first:
            self._warn_of_unmatched()
        self._sizes = scan.sizes
        return self.take_all_parked()

    def _warn_of_unmatched(self) -> None:
        """A name in the settings that no model has may be a slip; or its model comes later."""
        for alias, model in self._aliases.items():
            if model not in self._models:
                self._emit(Log("warning", "alias_unmatched", {"alias": alias, "model": model}))
        for model in self._options:
            if model not in self._models:
                self._emit(Log("warning", "options_unmatched", {"model": model}))

    def take_all_parked(self) -> list[MessageReceived]:
        """Stop waiting: the requests that did."""
        parked, self._parked = self._parked, []
        return parked

    def take_parked(self, peer: str, ids: Collection[str] | None = None) -> list[str]:
        """Drop a peer's parked requests, all or those in *ids*; the ids that were dropped."""
        dropped = [
            event
            for event in self._parked
            if event.peer == peer and (ids is None or event.message.envelope.ids[0] in ids)
        ]
        self._parked = [event for event in self._parked if event not in dropped]
        return [event.message.envelope.ids[0] for event in dropped]

    @property
    def num_parked(self) -> int:
        """Requests that wait for a look at the disk."""
        return len(self._parked)
