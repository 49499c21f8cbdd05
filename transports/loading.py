"""What kernel and worker say of the model that it loads."""

from __future__ import annotations

from transports.envelope import Message
from transports.messages import MaxTokens, MinP, RepetitionPenalty, Temperature, TopK, TopP


class Defaults(Message, frozen=True, kw_only=True):
    """What a request gets that does not say it; None leaves it to the model's generation_config.json."""

    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    max_tokens: MaxTokens | None = None


class Load(Message, frozen=True, kw_only=True):
    """Kernel -> worker, after welcome. Followed by progress and then ready, or failed."""

    path: str
    # The section of the settings for this worker kind, checked by the kind itself.
    settings: dict[str, str | int | float | bool | None] = {}  # noqa: RUF012  # msgspec copies it.
    defaults: Defaults = Defaults()


class Unload(Message, frozen=True, kw_only=True):
    """Kernel -> worker: end now. Its requests have ended or will be failed. No answer but the exit."""


class Ready(Message, frozen=True, kw_only=True):
    """Worker -> kernel: the model answers requests now."""

    # How many requests may be inside the worker at once.
    num_slots: int
    context_length: int
    # "cpu", "metal", "cuda".
    device: str = ""
    # What a person should know of the state it runs in, such as a slow BLAS.
    notes: tuple[str, ...] = ()
