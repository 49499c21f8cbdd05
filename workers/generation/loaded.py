"""What loading gives an engine, and the settings that the engines of all kinds share. Knows no mlx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from workers.engine import EngineInfo
from workers.generation.detokenize import Vocabulary
from workers.generation.kv_memory import KvSizes
from workers.generation.requests import RequestReader

# Any: mlx and mlx-lm publish no types that mypy sees outside a worker's environment.
Model = Any


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What a kind's `loading.load` hands over."""

    # Gives logits for tokens and caches.
    model: Model
    eos_tokens: frozenset[int]
    vocabulary: Vocabulary
    reader: RequestReader
    kv_sizes: KvSizes
    info: EngineInfo


class BatchSettings(Protocol):
    """What the settings of every kind have."""

    @property
    def num_slots(self) -> int: ...
    @property
    def prefill_step_tokens(self) -> int: ...
    @property
    def prefill_share(self) -> float: ...
    @property
    def prompt_cache_bytes(self) -> int: ...
    @property
    def kv_cache_bytes(self) -> int: ...
