"""An embedding engine in its own environment: asked as JSON on stdin, answers as JSON on stdout.

The tests run without mlx; the other end of the pipe runs this file with the worker's Python.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import msgspec

from transports.messages import Done
from transports.vectors import EmbeddingsRequest, RerankRequest
from workers.engine import Failure, Numbers


class Job(msgspec.Struct, kw_only=True):
    """A request and when it goes, counted in steps."""

    id: str
    embeddings: EmbeddingsRequest | None = None
    # One of the two.
    rerank: RerankRequest | None = None
    cancel_at: int | None = None


class Scenario(msgspec.Struct, kw_only=True):
    """What to load and do."""

    # A model's folder, or the name of one of tiny_encoders.py.
    model: str
    jobs: list[Job] = []
    settings: dict[str, int] = {}
    # In its config.json, and in its modules.json.
    config: dict[str, Any] = {}
    modules: list[dict[str, Any]] | None = None
    # Steps with this token fail.
    broken_token: int | None = None
    # The model gives NaN.
    gives_nan: bool = False


class Answer(msgspec.Struct, kw_only=True):
    """How a request ended."""

    rows: list[list[float]] = []
    # Of `Done` or `Numbers`.
    prompt_tokens: int = 0
    is_cancelled: bool = False
    code: str = ""
    message: str = ""
    param: str | None = None
    # After so many steps.
    step: int = 0


class Report(msgspec.Struct, kw_only=True):
    """What came of a scenario."""

    answers: dict[str, Answer] = {}
    load_error: str = ""
    tasks: list[str] = []
    context_length: int = 0
    notes: list[str] = []
    # Rows of each step.
    batches: list[int] = []
    has_torch: bool = False


def _serve() -> None:
    import tempfile

    from transports import logs

    logs.configure("error", "json", "probe", sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        for number, line in enumerate(sys.stdin.buffer):
            scenario = msgspec.json.decode(line, type=Scenario)
            report = _play(scenario, Path(folder) / str(number))
            sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
            sys.stdout.buffer.flush()


def _play(scenario: Scenario, folder: Path) -> Report:
    from tiny_encoders import CONFIGS, make

    from transports.errors import MlxdError
    from workers.embedding.loading import load

    path = make(folder, scenario.model) if scenario.model in CONFIGS else Path(scenario.model)
    if scenario.config:
        file = path / "config.json"
        file.write_bytes(msgspec.json.encode(msgspec.json.decode(file.read_bytes()) | scenario.config))
    if scenario.modules is not None:
        (path / "modules.json").write_bytes(msgspec.json.encode(scenario.modules))
    try:
        engine = load(path, scenario.settings, lambda _: None)
    except MlxdError as e:
        return Report(load_error=e.message)
    report = Report(
        tasks=sorted(engine.tasks),
        context_length=engine.info.context_length,
        notes=list(engine.info.notes),
        has_torch="torch" in sys.modules,
    )
    _watch(engine, scenario, report)
    for job in scenario.jobs:
        task, body = ("embeddings", job.embeddings) if job.embeddings else ("rerank", job.rerank)
        try:
            engine.add(job.id, task, body, [])
        except MlxdError as e:
            report.answers[job.id] = Answer(code=e.code, message=e.message, param=e.param)
    step = 0
    while engine.has_work():
        outputs = [out for job in scenario.jobs if job.cancel_at == step for out in engine.cancel(job.id)]
        outputs += engine.step()
        step += 1
        for output in outputs:
            report.answers[output.id] = _answer(output, step)
    engine.close()
    return report


def _watch(engine: Any, scenario: Scenario, report: Report) -> None:
    compute = engine._loaded.compute

    def watched(tokens: Any, mask: Any, types: Any) -> Any:
        report.batches.append(tokens.shape[0])
        if scenario.broken_token in tokens.flatten().tolist():
            raise RuntimeError("broken as told")
        values = compute(tokens, mask, types)
        return values * math.nan if scenario.gives_nan else values

    object.__setattr__(engine._loaded, "compute", watched)


def _answer(output: object, step: int) -> Answer:
    if isinstance(output, Failure):
        error = output.error
        return Answer(code=error.code, message=error.message, param=error.param, step=step)
    if isinstance(output, Numbers):
        numbers = output.values.cast("f").tolist()
        size = output.row_size
        rows = [numbers[at : at + size] for at in range(0, len(numbers), size)]
        return Answer(rows=rows, prompt_tokens=output.usage.prompt_tokens, step=step)
    assert isinstance(output, Done)
    return Answer(is_cancelled=output.finish_reason == "cancelled", step=step)


if __name__ == "__main__":
    _serve()
