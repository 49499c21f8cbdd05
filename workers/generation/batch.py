"""mlx-lm's continuous batching with our sampling: whole-batch calls, logprobs only where asked.

`BatchGenerator` keeps who is in the batch and the key-value caches; what is replaced is the one step
that turns logits into tokens. Written against mlx-lm 0.32.2, which requirements.lock pins.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.generate import (
    BatchGenerator,
    GenerationBatch,
    PromptProcessingBatch,
    StopSequences,
    _merge_caches,
)
from mlx_lm.models.cache import make_prompt_cache, trim_prompt_cache

from workers.generation.kv_memory import is_full
from workers.generation.logprobs import Chosen, StepLogprobs
from workers.generation.masks import allowed_words, keep_allowed
from workers.generation.penalties import Penalties, penalise
from workers.generation.prompt_reader import PromptReader
from workers.generation.rows import Row
from workers.generation.sampling import put_rows, sample

# Any: mlx and mlx-lm publish no types that mypy sees outside a worker's environment.
Array = Any
Model = Any
KvCache = Any
Response = Any


# A copy of more is made a layer at a time, which takes a wait each, so that it never all exists twice.
LARGE_COPY_BYTES = 64 * 1024 * 1024


class RowSampler:
    """How one row chooses tokens; what mlx-lm carries as the row's sampler."""

    def __init__(self, row: Row, vocab_size: int) -> None:
        self.params = params = row.params
        # The place in the answer of the token that is drawn next.
        self.position = len(row.answer)
        self.num_top_logprobs = row.num_top_logprobs
        needs_penalties = params.has_penalties or params.logit_bias
        self.penalties = Penalties(params, row.prompt, row.answer, vocab_size) if needs_penalties else None
        self.limit = row.limit
        self.constraint = row.constraint
        if row.constraint is not None:
            row.constraint.begin(row.answer)


class LogprobsOfRow:
    """A row's place in a step's logprobs, to be read when the step is done."""

    __slots__ = ("_row", "_step")

    def __init__(self, step: StepLogprobs, row: int) -> None:
        self._step = step
        self._row = row

    def read(self) -> Chosen | None:
        """Waits for the step; then for all rows at once."""
        return self._step.of(self._row)


class RowBatch(GenerationBatch):  # type: ignore[misc]  # untyped base
    """The rows that decode together. `samplers` holds a `RowSampler` for each.

    One row alone keeps the caches of a single sequence, which need no mask and no offset for each row: a
    batch of one is otherwise a fifth slower than mlx-lm's stream_generate on a GPU.
    """

    prompt_cache: list[KvCache]
    _next_tokens: Array
    _next_logprobs: list[LogprobsOfRow | None]

    def _step(self) -> tuple[list[int], list[LogprobsOfRow | None]]:
        """Start computing the next tokens, then hand out those of the step before."""
        fed = self._current_tokens = self._next_tokens
        logprobs = self._current_logprobs = self._next_logprobs
        rows: list[RowSampler] = self.samplers
        logits = self.model(fed[:, None], cache=self.prompt_cache, **self.model_inputs())[:, -1, :]
        words = None
        if any(row.constraint is not None for row in rows):
            # The masks follow from the tokens that are fed; the device computes meanwhile.
            mx.async_eval(logits)
            words = allowed_words([row.constraint for row in rows], fed.tolist(), logits.shape[-1])
        logits = penalise(logits, fed, [row.penalties for row in rows])
        allowed = logits if words is None else keep_allowed(logits, words)
        tokens = sample(allowed, [row.params for row in rows], [row.position for row in rows])
        tokens = _with_forced(tokens, rows)
        self._next_tokens = tokens
        self._next_logprobs = [None] * len(rows)
        if any(row.num_top_logprobs is not None for row in rows):
            step = StepLogprobs(logits, tokens, [row.num_top_logprobs for row in rows])
            self._next_logprobs = [LogprobsOfRow(step, at) for at in range(len(rows))]
            mx.async_eval(tokens, *step.arrays)
        else:
            mx.async_eval(tokens)
        for row in rows:
            row.position += 1
        # The only wait of a step, while the device computes the next one.
        ready: list[int] = fed.tolist()
        for history, token in zip(self.tokens, ready, strict=True):
            history.append(token)
        return ready, logprobs

    def model_inputs(self) -> dict[str, Any]:
        """What the model is given beside tokens and caches."""
        return {}

    def extend(self, batch: RowBatch) -> None:
        """See `GenerationBatch.extend`."""
        if self.uids and batch.uids:
            for part in (self, batch):
                if len(part) == 1:
                    part.prompt_cache = _merge_caches([part.prompt_cache])
        super().extend(batch)

    def filter(self, keep: list[int]) -> None:
        """See `GenerationBatch.filter`."""
        num_rows = len(self)
        if num_rows == 1 and keep:
            return
        super().filter(keep)
        if num_rows > 1 and len(keep) == 1:
            self.prompt_cache = single_caches(self.prompt_cache)

    def extract_cache(self, idx: int) -> list[KvCache]:
        """See `GenerationBatch.extract_cache`."""
        return list(self.prompt_cache) if len(self) == 1 else super().extract_cache(idx)


def _with_forced(tokens: Array, rows: Sequence[RowSampler]) -> Array:
    """The tokens that were drawn, shape (num_rows,), but for rows that have none to choose."""
    forced = {
        at: token
        for at, row in enumerate(rows)
        if row.limit is not None and (token := row.limit.forced(row.position)) is not None
    }
    if not forced:
        return tokens
    return put_rows(tokens, list(forced), mx.array(list(forced.values()), dtype=tokens.dtype))


def single_caches(batch_of_one: list[KvCache]) -> list[KvCache]:
    """The caches of a batch with one row as those of a sequence; copied, and taken from the batch."""
    is_large = sum(cache.nbytes for cache in batch_of_one) > LARGE_COPY_BYTES
    for layer, cache in enumerate(batch_of_one):
        batch_of_one[layer] = cache.extract(0)
        if is_large:
            # Now, so that this layer's old arrays go before the next one is copied.
            mx.eval(batch_of_one[layer].state)
    return batch_of_one


def beginning(caches: list[KvCache], num_tokens: int, num_wanted: int) -> list[KvCache]:
    """The caches of a sequence's first *num_wanted* tokens, from those of all its *num_tokens*.

    The arrays are shared until mlx-lm copies them into the batch; only the lengths are the caller's.
    """
    copied = copy.deepcopy(caches)
    if num_tokens > num_wanted:
        trim_prompt_cache(copied, num_tokens - num_wanted)
    return copied


class RowPrompts(PromptProcessingBatch):  # type: ignore[misc]  # untyped base
    """The rows whose prompts are being processed; they go on as a `batch_type`."""

    batch_type = RowBatch
    prompt_cache: list[KvCache]
    # Reads the next part of the prompts; None: there is no part to read.
    unread: Callable[[], None] | None = None

    def prompt(self, tokens: list[list[int]]) -> None:
        """See `PromptProcessingBatch.prompt`; only notes what to do, for `RowGenerator`."""
        if tokens:
            self.unread = partial(super().prompt, tokens)

    def take_unread(self) -> Callable[[], None] | None:
        """`unread`, which the caller is to call in any thread, once."""
        unread, self.unread = self.unread, None
        if unread is not None:
            # Only arrays that have values may be used in another thread.
            mx.eval([array for _, array in tree_flatten([cache.state for cache in self.prompt_cache])])
        return unread

    def generate(self, tokens: list[list[int]]) -> RowBatch:
        """See `PromptProcessingBatch.generate`; BatchGenerator leaves exactly one token of each prompt."""
        caches = self.prompt_cache
        if len(self.uids) == 1:
            # A prompt of one token put nothing into the caches; mlx-lm cannot extract nothing.
            caches = single_caches(caches) if self.tokens[0] else make_prompt_cache(self.model)
        return self.batch_type(
            self.model,
            self.uids,
            mx.array([last for (last,) in tokens]),
            caches,
            self.tokens,
            self.samplers,
            self.fallback_sampler,
            self.logits_processors,
            self.stop_sequences,
            self.max_tokens,
        )


class RowGenerator(BatchGenerator):  # type: ignore[misc]  # untyped base
    """A batch that requests join and leave while it runs."""

    prompts_type = RowPrompts

    def __init__(
        self,
        model: Model,
        *,
        num_slots: int,
        prefill_batch_size: int,
        stream: Any,
        reader: PromptReader | None = None,
    ) -> None:
        """Without rows.

        Args:
            reader: Reads prompts beside the rows that decode; None: this thread does, after each step.
        """
        super().__init__(
            model,
            completion_batch_size=num_slots,
            prefill_batch_size=min(prefill_batch_size, num_slots),
            stream=stream,
        )
        self._prompt_batch = self.prompts_type.empty(model, self.sampler)
        self._generation_batch = self.prompts_type.batch_type.empty(model, self.sampler)
        self._reader = reader
        # Of `num_read`, those between two steps.
        self.num_read_between = 0
        # Whether all prompts that are read next are longer than one step takes.
        self._is_long = False

    def insert_row(
        self,
        prompt: list[int],
        sampler: RowSampler,
        *,
        max_tokens: int,
        stops: StopSequences,
        cache: list[KvCache] | None = None,
        cached: list[int] | None = None,
    ) -> int:
        """Queue one sequence; its uid.

        Args:
            prompt: What is still to be processed, at least one token.
            cache: Holds *cached*, the tokens before *prompt*. It is copied.
        """
        (uid,) = self.insert(
            [prompt],
            max_tokens=[max_tokens],
            caches=[cache],
            all_tokens=[list(cached or ())],
            samplers=[sampler],
            stop_sequences=[stops],
        )
        return int(uid)

    def must_grow(self) -> bool:
        """Whether the caches of the running rows have no room for the next step."""
        return is_full(self._generation_batch.prompt_cache)

    @property
    def num_decoding(self) -> int:
        """Rows that get a token at each step."""
        return len(self._generation_batch)

    @property
    def num_read(self) -> int:
        """Tokens of prompts that were processed, of all rows ever."""
        return int(self._counters.prompt_tokens)

    def extract_cache(self, uids: Sequence[int]) -> dict[int, Any]:
        """See `BatchGenerator.extract_cache`."""
        self._settle(uids)
        return super().extract_cache(uids)  # type: ignore[no-any-return]

    def remove(self, uids: Sequence[int], return_prompt_caches: bool = False) -> dict[int, Any]:
        """See `BatchGenerator.remove`."""
        self._settle(uids)
        return super().remove(uids, return_prompt_caches)  # type: ignore[no-any-return]

    def close(self) -> None:
        """See `BatchGenerator.close`; what is being read is forgotten."""
        if self._reader is not None:
            self._reader.forget()
        super().close()

    def _settle(self, uids: Sequence[int]) -> None:
        """Wait for what is read beside the steps, if it is of these rows."""
        if self._reader is not None and not set(uids).isdisjoint(self._prompt_batch.uids):
            self._reader.settle()

    def _next(self) -> tuple[list[Response], list[Response]]:
        reader = self._reader
        if reader is not None and reader.is_reading and self._generation_batch:
            return [], self._generation_batch.next()
        inside = set(self._prompt_batch.uids)
        # Who left meanwhile is told nothing.
        told = [one for one in reader.take() if one.uid in inside] if reader is not None else []
        num_tokens = -self.num_read
        prompts, answers = super()._next()
        num_tokens += self.num_read
        read = self._prompt_batch.take_unread()
        if read is None:
            return told + prompts, answers
        if reader is None or not self._is_long or not self._generation_batch:
            read()
            self.num_read_between += num_tokens
            return told + prompts, answers
        reader.start(read, num_tokens, [one for one in prompts if not one.end_of_prompt])
        return told + [one for one in prompts if one.end_of_prompt], answers

    def limit_prefill(self, num_tokens: int, num_paced: int) -> None:
        """Share *num_tokens* of the next step among the prompts that will be processed in it.

        Args:
            num_paced: Instead, between steps of rows that decode, when all these prompts are longer than
                *num_tokens*.
        """
        reader = self._reader
        if reader is not None and reader.is_reading:
            return
        lengths = [total for _, _, total in self._currently_processing]
        lengths += [sum(map(len, segments)) for _, segments, *_ in self._unprocessed_sequences]
        waiting = lengths[: self.prefill_batch_size]
        # Short ones are read at once: rows that come together decode together from the start.
        self._is_long = bool(waiting) and min(waiting) > num_tokens
        if reader is not None and self._is_long and self._generation_batch:
            num_tokens = min(num_tokens, reader.piece_tokens)
        elif waiting and self._generation_batch and min(waiting) > num_tokens:
            num_tokens = num_paced
        share = num_tokens // max(1, len(waiting))
        self.prefill_step_size = self._prompt_batch.prefill_step_size = max(1, share)
