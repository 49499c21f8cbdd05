"""What administrators ask and are told: the bodies of admin and reply; docs/protocol.md has the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from transports.envelope import KeepAlive, Message
from transports.loading import Defaults
from transports.messages import Progress

ModelState = Literal[
    "absent",
    "available",
    "preparing",
    "loading",
    "ready",
    "draining",
    "backoff",
    "crash-looped",
    "failed",
]
# What a model takes.
Modality = Literal["text", "image"]
Capability = Literal["tools", "reasoning", "structured_output"]


class Admin(Message, frozen=True, kw_only=True):
    """Frontend -> kernel; `Envelope.task` names the operation (docs/protocol.md has the table).

    Followed by any number of progress messages and one reply or failed.
    """

    # For models.pull the repository.
    model: str = ""
    # A file for models.import; a revision for models.pull; an environment for envs.rm.
    name: str = ""
    # Do it although something is in the way.
    force: bool = False
    # For load, as `Envelope.keep_alive_s`.
    keep_alive_s: KeepAlive | None = None


class ModelInfo(Message, frozen=True, kw_only=True):
    """A model that the catalog knows."""

    name: str
    # The worker kind that serves it; "" when none can.
    kind: str
    state: ModelState
    # "folder", "hub" or "demo".
    source: str
    path: str = ""
    size_bytes: int = 0
    context_length: int = 0
    # Unix time of its newest file, seconds.
    created: int = 0
    error: str = ""
    modalities: tuple[Modality, ...] = ("text",)
    # What requests may ask of it; empty where that is not known.
    tasks: tuple[str, ...] = ()
    # Of its files; another one after a change.
    fingerprint: str = ""
    # Whether its files are not those that were loaded.
    is_changed: bool = False
    # The model that this name stands for (models.aliases); "" for a model's own name.
    alias_of: str = ""
    # What requests may ask of it besides text, as far as its files say.
    capabilities: tuple[Capability, ...] = ()


class MemoryEstimate(Message, frozen=True, kw_only=True):
    """What a model takes of the memory, or would take, by the files that it is made of."""

    weights_bytes: int
    # Of the engine, whatever it does.
    overhead_bytes: int
    # Looking at pictures, and remembering what was seen.
    images_bytes: int
    # Keys and values: granted, or those of one sequence of `context_tokens`.
    kv_bytes: int
    total_bytes: int
    # The longest sequence; 0 when nothing says it.
    context_tokens: int


class WorkerInfo(Message, frozen=True, kw_only=True):
    """A worker process, or why there is none for a model that was asked for."""

    name: str
    pid: int
    kind: str
    model: str
    state: str
    num_slots: int = 0
    num_active: int = 0
    num_queued: int = 0
    # Of the request that has waited longest, seconds.
    oldest_wait_s: float = 0.0
    # Requests that got a slot since the kernel started, and how long they all had waited for it.
    num_started: int = 0
    waited_s: float = 0.0
    memory_bytes: int = 0
    # Of an NVIDIA GPU's memory, besides.
    gpu_memory_bytes: int = 0
    # In this state.
    uptime_s: float = 0.0
    num_restarts: int = 0
    device: str = ""
    notes: tuple[str, ...] = ()
    # Why it is down, or was the last time; of a model that waits for its place in memory: why.
    error: str = ""
    # Until it is tried again; None while it is not down.
    retry_in_s: float | None = None
    # What a worker that is down wrote on stderr last; not made safe for a terminal.
    last_words: tuple[str, ...] = ()
    # How far it is on its way to "ready".
    progress: Progress | None = None
    # What it was planned to take; nil for one that is not placed.
    estimate: MemoryEstimate | None = None
    is_pinned: bool = False
    # Until it leaves memory if nobody asks for it; None for one that is busy, or stays.
    leaves_in_s: float | None = None


class MemoryReport(Message, frozen=True, kw_only=True):
    """The memory of all models together, and of the system."""

    budget_bytes: int
    # Of it, what the models in memory count for: what they were given, or more if they take more.
    charged_bytes: int
    # What the system could still give; nil where it does not say.
    available_bytes: int | None = None
    # Why no model is loaded now and idle ones leave; "" while there is memory enough.
    pressure: str = ""
    # What the GPU has left whose memory the budget is of; nil where it is of the system's.
    gpu_free_bytes: int | None = None


class FrontendInfo(Message, frozen=True, kw_only=True):
    """A connected frontend."""

    name: str
    pid: int
    kind: str
    # Whether the kernel's supervisor started it.
    supervised: bool
    state: str
    num_requests: int = 0
    memory_bytes: int = 0
    num_restarts: int = 0
    error: str = ""
    # Where it listens, if it does.
    address: str = ""
    # As of a worker.
    retry_in_s: float | None = None
    last_words: tuple[str, ...] = ()


class EnvironmentInfo(Message, frozen=True, kw_only=True):
    """The virtual environment of a worker kind."""

    kind: str
    # "ready", "missing", "broken" or "building" of those in use; of the others "previous" (a rollback goes to
    # it), "rolled-back" (from it) or "stale".
    state: str
    name: str
    path: str
    size_bytes: int = 0
    error: str = ""


class ModelReport(Message, frozen=True, kw_only=True):
    """Reply to models.show: one model, and what it takes of the memory."""

    model: ModelInfo
    # As it is loaded, or would be; nil for one that cannot be served.
    estimate: MemoryEstimate | None = None
    # What its worker really takes; 0 without one.
    memory_bytes: int = 0
    # Of an NVIDIA GPU's memory, besides.
    gpu_memory_bytes: int = 0
    is_pinned: bool = False
    # How long it stays in memory without requests, seconds; nil: for ever.
    idle_unload_s: float | None = None
    # What its worker is told, or would be.
    settings: Mapping[str, str | int | float | bool | None] = {}
    # What requests get that do not say it.
    defaults: Defaults = Defaults()
    # Why it would not fit now, whoever left.
    refusal: str = ""


class ModelsReply(Message, frozen=True, kw_only=True):
    """Reply to models.list, and to models.import and models.pull with the new model alone."""

    models: tuple[ModelInfo, ...]


class OutcastInfo(Message, frozen=True, kw_only=True):
    """A frontend that the kernel cut off, in status."""

    # "" if it never said hello.
    name: str
    pid: int
    reason: str
    # Since then, seconds.
    age_s: float


class StatusReply(Message, frozen=True, kw_only=True):
    """Reply to status."""

    version: str
    pid: int
    uptime_s: float
    state: str
    memory_bytes: int
    home: str
    # Whether all models named at start are loaded and all frontends are up that can be, one at least.
    is_ready: bool
    # What is_ready waits for, or why it cannot come.
    waiting_for: tuple[str, ...] = ()
    workers: tuple[WorkerInfo, ...] = ()
    frontends: tuple[FrontendInfo, ...] = ()
    num_waiting: int = 0
    memory: MemoryReport | None = None
    # The last ones, the newest last.
    outcasts: tuple[OutcastInfo, ...] = ()


class EnvironmentsReply(Message, frozen=True, kw_only=True):
    """Reply to envs.list, envs.sync and envs.rm."""

    environments: tuple[EnvironmentInfo, ...]


class PluginInfo(Message, frozen=True, kw_only=True):
    """A frontend or a worker kind that a distribution brought."""

    name: str
    role: Literal["frontend", "worker"]
    distribution: str
    version: str
    # "installed" or "broken"; of a worker kind with an environment of its own that one's.
    state: str
    # Why it cannot be used.
    error: str = ""


class PluginsReply(Message, frozen=True, kw_only=True):
    """Reply to plugins.list."""

    plugins: tuple[PluginInfo, ...]


class QueuedRequest(Message, frozen=True, kw_only=True):
    """A request that waits; nothing of what it asks."""

    model: str
    # 1 goes next, if nobody else comes.
    position: int
    frontend: str
    # `Envelope.client`.
    client: str = ""
    priority: int = 0
    waited_s: float = 0.0
    num_bytes: int = 0


class QueueReply(Message, frozen=True, kw_only=True):
    """Reply to queue."""

    requests: tuple[QueuedRequest, ...]


class RemovedReply(Message, frozen=True, kw_only=True):
    """Reply to models.rm."""

    freed_bytes: int


class DoneReply(Message, frozen=True, kw_only=True):
    """Reply to an operation that has nothing to tell but that it was done."""

    detail: str = ""
