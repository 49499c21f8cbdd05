"""An engine in its own environment, driven by scenarios over stdin and stdout.

The tests run without mlx; the other end of the pipe runs this file with the worker's Python.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import msgspec

from transports import logs
from transports.errors import MlxdError
from transports.messages import ChatMessage, ChatRequest, CompletionRequest, Delta, Done, Item, Progress
from workers.engine import Failure

LOADERS = {"text": "workers.text.loading:load", "vision": "workers.vision.loading:load"}
# Where a kind's library has its key-value caches.
CACHES = {"text": "mlx_lm.models.cache", "vision": "mlx_vlm.models.cache"}
# Weights and tokenizers that are kept for engines with other settings.
NUM_FOLDERS = 3


class Job(msgspec.Struct, kw_only=True):
    """A request and when it comes and goes, counted in steps."""

    id: str
    chat: ChatRequest | None = None
    completion: CompletionRequest | None = None
    # The pixels of the chat's images.
    buffers: tuple[bytes, ...] = ()
    add_at: int = 0
    cancel_at: int | None = None


class Scenario(msgspec.Struct, kw_only=True):
    """What to load and do."""

    path: str
    kind: str = "text"
    jobs: list[Job] = []
    settings: dict[str, int | str | bool] = {}
    # mlx-lm's caches grow by so many tokens; fewer than its own 256 show in a short test what comes of it.
    growth_tokens: int = 256
    # Sampling raises when a row with this seed is in the batch, from this place in its answer on.
    broken_seed: int | None = None
    broken_from: int = 0
    # There is no memory for the step with this number, counted from 1; nor for steps of more rows than this.
    out_of_memory_at: int | None = None
    out_of_memory_above: int | None = None
    # Caches cannot be cut back to fewer tokens, like those of models with states.
    is_uncuttable: bool = False


class Failed(msgspec.Struct, tag="failed", kw_only=True):
    """An error of `add`, `step` or `load`."""

    code: str
    message: str
    param: str | None = None
    id: str = ""


class Report(msgspec.Struct, kw_only=True):
    """What came of it: (step, output) in order."""

    outputs: list[tuple[int, Item | Failed]] = []
    progress: list[int] = []
    # The most that keys and values took after a step, with those in the prompt cache.
    most_kv_bytes: int = 0
    # What mlx had allocated at most, more than before the first step.
    peak_bytes: int = 0
    # Tokens of prompts that mlx-lm's generator read.
    num_read: int = 0
    # How often a row was taken out of the batch to wait again.
    num_withdrawn: int = 0
    load_error: Failed | None = None
    load_fractions: list[float | None] = []
    # Whether a grammar could be compiled when the model was loaded, without a look at the vocabulary.
    has_vocabulary_tables: bool = False
    device: str = ""
    notes: list[str] = []

    def text(self, job: str) -> str:
        return "".join(one.text for _, one in self.of(job) if isinstance(one, Delta))

    def done(self, job: str) -> Done:
        (done,) = [one for _, one in self.of(job) if isinstance(one, Done)]
        return done

    def error(self, job: str) -> Failed:
        (failed,) = [one for _, one in self.of(job) if isinstance(one, Failed)]
        return failed

    def of(self, job: str) -> list[tuple[int, Item | Failed]]:
        return [(step, one) for step, one in self.outputs if one.id == request_id(job)]


# Jobs, and fields of `Scenario` by name: the fixture `run`.
Run: TypeAlias = Callable[..., Report]


def request_id(job: str) -> str:
    """The protocol wants at least eight characters."""
    return f"request-{job}"


def say(content: str, **fields: object) -> ChatRequest:
    """A conversation of one turn."""
    return ChatRequest(messages=(ChatMessage(role="user", content=content),), **fields)  # type: ignore[arg-type]


class Host:
    """The test's end of the pipe."""

    def __init__(self, python: str, root: Path) -> None:
        self._process = subprocess.Popen(
            [python, "-P", str(Path(__file__))],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, scenario: Scenario) -> Report:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(scenario) + b"\n")
        self._process.stdin.flush()
        # Not JSON, which has no NaN: of the first token of a prompt.
        return msgspec.msgpack.decode(bytes.fromhex(self._process.stdout.readline().decode()), type=Report)

    def close(self) -> None:
        self._process.communicate(timeout=30)


def play(scenario: Scenario, engine) -> Report:  # type: ignore[no-untyped-def]
    """Run the jobs to their ends."""
    import mlx.core as mx

    report = Report(device=engine.info.device, notes=list(engine.info.notes))
    step = 0
    count_withdrawn(engine, report)
    mx.reset_peak_memory()
    before_bytes = mx.get_active_memory()
    read_before = engine._generator.num_read
    while engine.has_work() or any(job.add_at >= step for job in scenario.jobs):
        outputs = []
        for job in scenario.jobs:
            body = job.chat or job.completion
            if job.add_at == step:
                try:
                    engine.add(request_id(job.id), "chat" if job.chat else "completion", body, job.buffers)
                except MlxdError as e:
                    report.outputs.append((step, failed(e, request_id(job.id))))
            if job.cancel_at == step:
                outputs += engine.cancel(request_id(job.id))
        outputs += engine.step()
        report.outputs += [
            (step, failed(one.error, one.id) if isinstance(one, Failure) else one) for one in outputs
        ]
        report.progress.append(engine.progress())
        kv_bytes = engine._generator.prompt_cache_nbytes + engine._prompt_cache.size_bytes
        report.most_kv_bytes = max(report.most_kv_bytes, kv_bytes)
        step += 1
    report.num_read = engine._generator.num_read - read_before
    report.peak_bytes = mx.get_peak_memory() - before_bytes
    return report


def count_withdrawn(engine, report: Report) -> None:  # type: ignore[no-untyped-def]
    """Note in the report how many rows have to wait again."""
    withdraw = type(engine)._withdraw

    def counted(rows) -> None:  # type: ignore[no-untyped-def]
        report.num_withdrawn += len(rows)
        withdraw(engine, rows)

    engine._withdraw = counted


def failed(error: MlxdError, job: str) -> Failed:
    """An error for the other side."""
    return Failed(code=error.code, message=error.message, param=error.param, id=job)


def break_sampling(scenario: Scenario, original) -> None:  # type: ignore[no-untyped-def]
    """Put a fault into the step, or take it out."""
    from workers.generation import batch

    calls = itertools.count(1)

    def sample(logits, params, positions):  # type: ignore[no-untyped-def]
        if next(calls) == scenario.out_of_memory_at:
            raise MemoryError("injected")
        if scenario.out_of_memory_above is not None and len(params) > scenario.out_of_memory_above:
            raise RuntimeError("[malloc_or_wait] Unable to allocate 99 bytes")
        for one, position in zip(params, positions, strict=True):
            if one.seed == scenario.broken_seed and position >= scenario.broken_from:
                raise RuntimeError("injected")
        return original(logits, params, positions)

    batch.sample = sample


def cut_nothing(scenario: Scenario, original) -> None:  # type: ignore[no-untyped-def]
    """Say of all caches that they cannot be cut back, or the truth."""
    from workers.generation import engine, shared_prefill

    engine.can_trim_prompt_cache = shared_prefill.can_trim_prompt_cache = (
        (lambda _: False) if scenario.is_uncuttable else original
    )


def read_once(module: ModuleType, *names: str) -> None:
    """Have these functions read each folder once: what they make is the same for all settings."""
    for name in names:
        setattr(module, name, _by_folder(getattr(module, name)))


def _by_folder(read: Callable[..., object]) -> Callable[..., object]:
    made: dict[Path, object] = {}

    def read_or_recall(folder: Path, *arguments: object, **fields: object) -> object:
        if folder not in made:
            while len(made) >= NUM_FOLDERS:
                del made[next(iter(made))]
            made[folder] = read(folder, *arguments, **fields)
        return made[folder]

    return read_or_recall


def main() -> None:
    """Load and play, a line a scenario; an engine is kept while path and settings stay the same."""
    from workers.blas import preload_openblas

    preload_openblas(sys.orig_argv)
    # stdout is the pipe.
    logs.configure("info", "text", "engine_host")
    from mlx_lm.models.cache import can_trim_prompt_cache

    from workers.generation import sampling
    from workers.kinds import loader
    from workers.text import loading

    read_once(loading, "load_model", "_tokenizer")
    loaded, engine, has_tables = None, None, False
    for line in sys.stdin.buffer:
        scenario = msgspec.json.decode(line, type=Scenario)
        report = Report()
        fractions: list[float | None] = []

        def on_progress(progress: Progress, fractions: list[float | None] = fractions) -> None:
            fractions.append(progress.fraction)

        try:
            wanted = (scenario.path, scenario.settings, scenario.growth_tokens)
            if wanted != loaded or engine is None:
                caches = import_module(CACHES[scenario.kind])
                caches.KVCache.step = caches.BatchKVCache.step = scenario.growth_tokens
                engine = loader(LOADERS[scenario.kind])(Path(scenario.path), scenario.settings, on_progress)
                loaded = wanted
                has_tables = engine._loaded.reader.grammars._tables.done()
            break_sampling(scenario, sampling.sample)
            cut_nothing(scenario, can_trim_prompt_cache)
            report = play(scenario, engine)
        except MlxdError as e:
            loaded, report.load_error = None, failed(e, "")
        report.load_fractions = fractions
        report.has_vocabulary_tables = has_tables
        sys.stdout.buffer.write(msgspec.msgpack.encode(report).hex().encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
