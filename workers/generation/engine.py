"""Many requests in one running batch of mlx-lm, none of which can spoil another."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any, Generic, TypeVar

import mlx.core as mx
from mlx_lm.models.cache import can_trim_prompt_cache

from transports.envelope import Message
from transports.errors import OutOfMemory
from transports.logs import get_logger
from transports.messages import ChatRequest, CompletionRequest, FinishReason, TokenLogprob
from workers.engine import Failure, Output
from workers.generation.batch import LogprobsOfRow, RowGenerator, RowSampler, beginning
from workers.generation.cpu_values import num_waits
from workers.generation.failures import as_error, is_out_of_memory
from workers.generation.kv_memory import KvBudget
from workers.generation.loaded import BatchSettings, LoadedModel
from workers.generation.pace import PrefillPace
from workers.generation.prompt_cache import PromptCache
from workers.generation.rows import Row
from workers.generation.stop_tokens import StopTokens

log = get_logger()

# Any: mlx and mlx-lm publish no types that mypy sees outside a worker's environment.
KvCache = Any
Response = Any

AnyRow = TypeVar("AnyRow", bound=Row)

# A shorter common beginning costs more to copy than to compute again.
MIN_CACHED_TOKENS = 16
# Of a step that has nothing to compute: until then nobody can be taken in or cancelled.
COMPILE_WAIT_S = 0.02
# A row on trial is sound when it got as far as where it may have failed: one step is always
# computed ahead of the token that is delivered.
TRIAL_TOKENS = 2


class BatchEngine(ABC, Generic[AnyRow]):
    """The part of `workers.engine.Engine` that does not depend on what a prompt is made of.

    Rows wait, join the batch at a step, and leave it one by one.
    """

    tasks: dict[str, type[Message]] = {"chat": ChatRequest, "completion": CompletionRequest}  # noqa: RUF012

    def __init__(self, loaded: LoadedModel, settings: BatchSettings) -> None:
        self.info = loaded.info
        self._loaded = loaded
        self._settings = settings
        self._stream = mx.default_stream(mx.default_device())
        self._stop_tokens = StopTokens(loaded.eos_tokens, loaded.reader.prompts.fim)
        self._prompt_cache: PromptCache[list[KvCache]] = PromptCache(settings.prompt_cache_bytes)
        self._budget = KvBudget(loaded.kv_sizes, settings.kv_cache_bytes, settings.prefill_step_tokens)
        self._pace = PrefillPace(settings.prefill_step_tokens, settings.prefill_share)
        self._generator = self._new_generator()
        # Their grammars are being compiled.
        self._compiling: deque[AnyRow] = deque()
        # Not in the batch yet, oldest first.
        self._waiting: deque[AnyRow] = deque()
        # In the batch, by mlx-lm's uid.
        self._running: dict[int, AnyRow] = {}
        # After a failed step: rows to be let in again one at a time, before anyone new.
        self._suspects: deque[AnyRow] = deque()
        self._on_trial: AnyRow | None = None
        # After a step that wanted too much memory: nobody joins before somebody leaves.
        self._is_crowded = False
        self._progress = 0

    def cancel(self, request_id: str) -> list[Output]:
        """See `Engine.cancel`."""
        for queue in (self._compiling, self._waiting, self._suspects):
            for row in queue:
                if row.id == request_id:
                    queue.remove(row)
                    return [*row.finish("cancelled", time.monotonic())]
        for uid, row in self._running.items():
            if row.id == request_id:
                return self._remove(uid, "cancelled", time.monotonic())
        return []

    def step(self) -> list[Output]:
        """See `Engine.step`."""
        now = time.monotonic()
        outputs = [*self._compiled(), *self._make_room(now), *self._admit(now)]
        generator, num_read = self._generator, self._generator.num_read_between
        generator.limit_prefill(self._settings.prefill_step_tokens, self._pace.chunk_tokens)
        started = time.monotonic()
        try:
            prefilled, responses = generator.next()
        except Exception as e:  # noqa: BLE001 - whatever a model raises must not end the other requests
            return outputs + self._recover(e)
        self._progress += len(prefilled) + len(responses)
        now = time.monotonic()
        if responses:
            self._pace.step(now - started, generator.num_read_between - num_read)
        for response in prefilled:
            outputs += self._prefilled(response)
        for response in responses:
            outputs += self._generated(response, now)
        return outputs

    def has_work(self) -> bool:
        """See `Engine.has_work`."""
        return bool(self._compiling) or self._has_rows()

    def progress(self) -> int:
        """See `Engine.progress`."""
        return self._progress + num_waits()

    def close(self) -> None:
        """See `Engine.close`."""
        self._prompt_cache.clear()
        self._loaded.reader.grammars.close()
        self._generator.close()
        mx.clear_cache()

    # --- joining --------------------------------------------------------------------------

    def _has_rows(self) -> bool:
        """Whether there is a row to compute for."""
        return bool(self._running or self._waiting or self._suspects)

    def _enqueue(self, row: AnyRow) -> None:
        """Have a row wait for its place; first for its grammar."""
        (self._waiting if row.constraint is None else self._compiling).append(row)

    def _compiled(self) -> list[Output]:
        """Move the rows whose grammars are ready on; the failures of those that have none."""
        if self._compiling and not self._has_rows():
            wait([row.constraint.compiled for row in self._compiling if row.constraint], COMPILE_WAIT_S)
        outputs: list[Output] = []
        for row in list(self._compiling):
            if row.constraint is not None and row.constraint.compiled.done():
                self._compiling.remove(row)
                if error := row.constraint.refusal:
                    outputs.append(Failure(id=row.id, error=error))
                else:
                    self._waiting.append(row)
        return outputs

    def _admit(self, now: float) -> list[Output]:
        if self._is_crowded and self._rows_inside():
            return []
        if self._on_trial is None and self._suspects:
            self._on_trial = self._suspects.popleft()
            return self._let_in(self._on_trial)
        outputs: list[Output] = []
        # Nobody new while rows are tried: a failure must point at one row.
        while self._on_trial is None and (row := self._next_waiting()) is not None:
            inside = self._rows_inside()
            left = self._left([*inside, row])
            # Nobody overtakes: a long prompt would wait for ever.
            if left < 0 and inside:
                break
            self._waiting.remove(row)
            if left < 0:
                outputs += self._give_up(row, now)
                continue
            outputs += [*row.start(now), *self._let_in(row)]
            self._prompt_cache.shrink(left)
        return outputs

    def _next_waiting(self) -> AnyRow | None:
        """Whose turn it is to join."""
        return self._waiting[0] if self._waiting else None

    def _let_in(self, row: AnyRow) -> list[Output]:
        row.is_reading = True
        return self._insert(row)

    @abstractmethod
    def _insert(self, row: AnyRow) -> list[Output]:
        """Let a row into the batch; its failure if that cannot be done."""

    def _join(self, row: AnyRow, prompt: list[int], cache: list[KvCache] | None, cached: list[int]) -> None:
        """Give a row to the generator.

        Args:
            prompt: The tokens that are not in *cache*, at least one.
            cached: Those that are.
        """
        uid = self._generator.insert_row(
            prompt,
            self._sampler(row),
            max_tokens=row.num_left,
            stops=self._stop_tokens.of(row),
            cache=cache,
            cached=cached,
        )
        self._running[uid] = row

    def _sampler(self, row: AnyRow) -> RowSampler:
        return RowSampler(row, self._loaded.reader.vocab_size)

    # --- memory for keys and values -------------------------------------------------------

    def _rows_inside(self) -> list[AnyRow]:
        """The rows that have keys and values."""
        return list(self._running.values())

    def _left(self, rows: Sequence[AnyRow]) -> float:
        """What these rows leave of the memory, in bytes; negative if they do not fit."""
        if not self._budget.is_limited:
            return math.inf
        decoding = [row.num_tokens for row in rows if not row.is_reading]
        return self._budget.left(decoding, [row.num_tokens for row in rows if row.is_reading])

    def _make_room(self, now: float) -> list[Output]:
        """Before the batch grows beyond the memory: those that came last wait until there is room again."""
        if not self._budget.is_limited or not self._generator.must_grow():
            return []
        staying = sorted(self._rows_inside(), key=lambda row: row.arrived)
        ending = [row for row in staying if self._left([row]) < 0]
        for row in ending:
            staying.remove(row)
        leaving: list[AnyRow] = []
        while (left := self._left(staying)) < 0:
            leaving.append(staying.pop())
        self._withdraw([*ending, *leaving])
        self._prompt_cache.shrink(left)
        # They were here before everyone who waits, and the one that came first is put in front last.
        self._waiting.extendleft(leaving)
        return [output for row in ending for output in self._give_up(row, now)]

    def _withdraw(self, rows: Sequence[AnyRow]) -> None:
        """Take rows out of the batch that are not at their end; what they have said stays with them."""
        ids = {row.id for row in rows}
        uids = [uid for uid, row in self._running.items() if row.id in ids]
        self._generator.remove(uids)
        for uid in uids:
            self._leave(uid)

    def _give_up(self, row: AnyRow, now: float) -> list[Output]:
        """End a row that would not fit if it were alone."""
        if row.answer:
            return [*row.finish("length", now)]
        needed, limit = self._budget.needed([], [row.num_tokens]), self._budget.max_bytes
        return [
            Failure(
                id=row.id,
                error=OutOfMemory(
                    f"keys and values: {row.num_tokens} tokens of prompt and room to answer need {needed} "
                    f"bytes, this model has {limit}: shorten the prompt or raise kv_cache_bytes"
                ),
            )
        ]

    # --- what a step gave -----------------------------------------------------------------

    def _prefilled(self, response: Response) -> list[Output]:
        row = self._running[response.uid]
        num_done, num_total = response.progress
        # A row that is let in again said this once before.
        if row.answer or num_total <= self._settings.prefill_step_tokens:
            return []
        return [row.prefill(row.num_cached + num_done)]

    def _generated(self, response: Response, now: float) -> list[Output]:
        row = self._running[response.uid]
        # Frontends may say how long the prompt is with the first text, not only at the end.
        outputs: list[Output] = [row.prefill(len(row.prompt))] if row.is_reading and not row.answer else []
        row.is_reading = False
        if row.constraint is not None and row.constraint.error is not None:
            self._withdraw([row])
            return [Failure(id=row.id, error=row.constraint.error)]
        if response.finish_reason == "stop":
            outputs += row.take_stop_token(self._logprobs(response), now)
            return self._finished(response, [*outputs, *row.finish("stop", now)])
        outputs += row.take(response.token, self._logprobs(response), now)
        if row is self._on_trial and len(row.answer) >= TRIAL_TOKENS:
            self._on_trial = None
        if row.has_stopped:
            if response.finish_reason is None:
                return outputs + self._remove(response.uid, "stop", now)
            return outputs + self._finished(response, row.finish("stop", now))
        if response.finish_reason is not None:
            return outputs + self._finished(response, row.finish("length", now))
        return outputs

    def _logprobs(self, response: Response) -> list[TokenLogprob]:
        place: LogprobsOfRow | None = response.logprobs
        chosen = place.read() if place is not None else None
        if chosen is None:
            return []
        top = tuple(self._named(token, logprob) for token, logprob in chosen.top)
        return [self._named(response.token, chosen.logprob, top)]

    def _named(self, token: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        token_bytes = self._loaded.vocabulary.bytes_of(token)
        text = token_bytes.decode(errors="replace")
        return TokenLogprob(token=text, logprob=logprob, token_bytes=token_bytes, top=top)

    # --- leaving --------------------------------------------------------------------------

    def _remove(self, uid: int, reason: FinishReason, now: float) -> list[Output]:
        """Take a row out of the running batch."""
        removed = self._generator.remove([uid], return_prompt_caches=True)
        row = self._leave(uid)
        if uid in removed:
            cache, tokens = removed[uid]
            self._store(row, tokens, cache)
        return [*row.finish(reason, now)]

    def _finished(self, response: Response, last: Sequence[Output]) -> list[Output]:
        """Note that a row left the batch by itself."""
        row = self._leave(response.uid)
        self._store(row, response.all_tokens, response.prompt_cache)
        return list(last)

    def _leave(self, uid: int) -> AnyRow:
        row = self._running.pop(uid)
        self._is_crowded = False
        if row is self._on_trial:
            self._on_trial = None
        return row

    # --- prompt cache ---------------------------------------------------------------------

    def _cached(self, row: AnyRow) -> tuple[list[KvCache] | None, int]:
        """Keys and values of the longest known beginning of a row's tokens, and its length."""
        hit = self._prompt_cache.match(row.cache_key(row.tokens), MIN_CACHED_TOKENS)
        if hit is None:
            return None, 0
        if not row.answer:
            row.num_cached = hit.num_cached
        return beginning(hit.cache, hit.num_stored, hit.num_cached), hit.num_cached

    def _store(self, row: AnyRow, tokens: Sequence[int], cache: list[KvCache]) -> None:
        if not tokens or self._settings.prompt_cache_bytes == 0 or not can_trim_prompt_cache(cache):
            return
        size_bytes = sum(one.nbytes for one in cache)
        left = self._left(self._rows_inside())
        if size_bytes > left:
            return
        # Not waited for: the next step is already under way on the device.
        mx.async_eval([one.state for one in cache])
        self._prompt_cache.store(row.cache_key(tokens), cache, size_bytes)
        self._prompt_cache.shrink(left)

    # --- after a failed step --------------------------------------------------------------

    @abstractmethod
    def _new_generator(self) -> RowGenerator:
        """Without rows."""

    def _recover(self, error: Exception) -> list[Output]:
        """Find out whose fault a failed step was; everyone else goes on where they were.

        The batch is in an unknown state and is dropped. A row alone in it, or on trial, is the
        culprit. Otherwise each row in turn is put on trial beside those that passed. A row on trial for
        which there is no memory is tried again when one of the others has left.
        """
        rows, self._running = list(self._running.values()), {}
        self._generator.close()
        self._generator = self._new_generator()
        # mlx's compiled functions leave the generator of this thread unusable when they fail.
        mx.random.seed(time.monotonic_ns())
        mx.clear_cache()
        self._progress += 1
        # A row on trial may not have joined yet.
        tried = next((row for row in rows if row is self._on_trial), None)
        culprit = rows[0] if len(rows) == 1 else tried
        if tried is not None:
            self._on_trial = None
        if lacks_memory := is_out_of_memory(error):
            log.warning("memory_ran_out", rows=len(rows), exc_info=error)
            self._prompt_cache.clear()
        if culprit is None:
            self._suspects.extend(rows)
            return []
        outputs: list[Output] = []
        if lacks_memory and len(rows) > 1:
            self._is_crowded = True
            self._suspects.appendleft(culprit)
        else:
            outputs.append(self._failure(culprit, error))
        for row in rows:
            if row is not culprit:
                outputs += self._let_in(row)
        return outputs

    def _failure(self, row: AnyRow, error: Exception) -> Failure:
        if row is self._on_trial:
            self._on_trial = None
        log.error("request_failed", request_id=row.id, exc_info=error)
        return Failure(id=row.id, error=as_error(error))
