"""Endless batches of drawn conversations, made by worker processes of torch's DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from workers.vision.tiny_vl.training.conversations import make_conversation
from workers.vision.tiny_vl.training.encode import PAD, Encoded, encode
from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.patches import PATCH_VALUES, patchify
from workers.vision.tiny_vl.training.visuals import make_visual

# Answers of a conversation that the statistics look at.
MAX_COUNTED_TURNS = 10


class Bucket(NamedTuple):
    """Conversations of about one size, which share a batch."""

    name: str
    # Image tokens and tokens at most.
    image_tokens: int
    tokens: int
    # Conversations in a batch.
    batch: int


# A batch: its bucket's name and tensors. A dict, so that pin_memory knows it.
Batch = dict[str, Any]


class Conversations(IterableDataset):
    """Batches drawn from a seed.

    Args:
        seed: Each worker process draws its own from it.
        buckets: The small one and the large one.
        fonts: Folder and whether only held-out ones are used.
        per_visual: Conversations about each visual; the batch has them one after another.
        lookup_share: See `make_visual`.
        limit: Visuals to draw for an evaluation: one plain turn each. 0: endless, for training.
    """

    def __init__(
        self,
        seed: int,
        buckets: tuple[Bucket, Bucket],
        fonts: tuple[Path | None, bool],
        *,
        per_visual: int = 1,
        lookup_share: float = 0.0,
        limit: int = 0,
    ) -> None:
        self._seed = seed
        self._buckets = buckets
        self._fonts = fonts
        self._per_visual = per_visual
        self._lookup_share = lookup_share
        self._limit = limit

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        index, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        rng = Random(self._seed * 1009 + index)
        folder, held_out = self._fonts
        fonts = Fonts(folder, held_out=held_out)
        left = self._limit // num_workers
        waiting: dict[Bucket, list[list[Encoded]]] = {bucket: [] for bucket in self._buckets}
        while not self._limit or left > 0:
            bucket, row = self._draw(rng, fonts)
            if len(row) < self._per_visual:
                continue
            left -= 1
            waiting[bucket].append(row)
            if len(waiting[bucket]) == bucket.batch:
                yield collate(waiting[bucket], bucket)
                waiting[bucket] = []
        for bucket, rows in waiting.items():
            if rows:
                yield collate(rows, bucket)

    def _draw(self, rng: Random, fonts: Fonts) -> tuple[Bucket, list[Encoded]]:
        small, large = self._buckets
        is_training = not self._limit
        wanted = small if rng.random() < 0.6 else large
        visual = make_visual(rng, fonts, wanted.image_tokens, self._lookup_share if is_training else 0.0)
        patched = [patchify(image) for image in visual.images]
        tokens = sum(rows * columns for _, rows, columns in patched) // 4
        bucket = small if tokens <= small.image_tokens else large
        row = []
        for _ in range(self._per_visual):
            conversation = make_conversation(
                rng, visual, max_turns=None if is_training else 1, is_plain=not is_training
            )
            encoded = encode(
                conversation,
                max_tokens=bucket.tokens,
                patched=patched,
                add_vision_id=is_training and rng.random() < 0.03,
            )
            if encoded is None:
                break
            row.append(encoded)
        return bucket, row


def collate(rows: list[list[Encoded]], bucket: Bucket) -> Batch:
    """Pad the conversations of *rows* into one batch; each row is about one visual."""
    size, per_visual, max_patches = len(rows), len(rows[0]), bucket.image_tokens * 4
    arrays = {
        "patches": np.zeros((size, max_patches, PATCH_VALUES), np.uint8),
        "places": np.zeros((size, max_patches, 2), np.int16),
        "images": np.full((size, max_patches), -1, np.int16),
        "windows": np.full((size, max_patches), -1, np.int16),
        "ids": np.full((per_visual, size, bucket.tokens), PAD, np.int16),
        "positions": np.zeros((per_visual, 3, size, bucket.tokens), np.int16),
        "turns": np.full((per_visual, size, bucket.tokens), -1, np.int8),
        "kinds": np.full((per_visual, size, MAX_COUNTED_TURNS), -1, np.int8),
    }
    for r, row in enumerate(rows):
        vision = row[0].vision
        if vision is not None:
            for name, array in vision._asdict().items():
                arrays[name][r, : len(array)] = array
        for k, encoded in enumerate(row):
            length = len(encoded.ids)
            arrays["ids"][k, r, :length] = encoded.ids
            arrays["positions"][k, :, r, :length] = encoded.positions
            arrays["turns"][k, r, :length] = encoded.turns
            kinds = encoded.kinds[:MAX_COUNTED_TURNS]
            arrays["kinds"][k, r, : len(kinds)] = kinds
    return {"bucket": bucket.name, **{name: torch.from_numpy(array) for name, array in arrays.items()}}


def loader(conversations: Conversations, num_workers: int, *, is_pinned: bool) -> DataLoader:
    """Draw in *num_workers* processes; 0: in this one."""
    prefetch = 2 if num_workers else None
    return DataLoader(
        conversations,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=is_pinned,
        prefetch_factor=prefetch,
    )
