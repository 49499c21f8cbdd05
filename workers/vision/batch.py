"""Rows with pictures in mlx-lm's batch: each has its own place to count on from."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from workers.generation.batch import RowBatch, RowGenerator, RowPrompts, RowSampler
from workers.vision.rows import VisionRow


class VisionSampler(RowSampler):
    """See `RowSampler`; knows the row's place too."""

    def __init__(self, row: VisionRow, vocab_size: int) -> None:
        super().__init__(row, vocab_size)
        self.lag = row.lag


class VisionBatch(RowBatch):
    """See `RowBatch`."""

    def model_inputs(self) -> dict[str, Any]:
        """The rope positions of the tokens that are fed, which differ from row to row."""
        if not self.model.has_mrope:
            return {}
        places = [len(tokens) + row.lag for tokens, row in zip(self.tokens, self.samplers, strict=True)]
        return {"position_ids": mx.broadcast_to(mx.array(places)[:, None], (3, len(places), 1))}


class VisionRows(RowPrompts):
    """See `RowPrompts`."""

    batch_type = VisionBatch


class VisionGenerator(RowGenerator):
    """See `RowGenerator`; its rows come read but for one token."""

    prompts_type = VisionRows
