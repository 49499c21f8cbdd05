"""An engine whose second thread is held while it reads, in the text worker's environment.

Takes the folder of a model; prints a line of JSON with what came of each request of each scenario.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transports import logs
from transports.messages import CompletionRequest, Delta, Done, Prefill, Sampling
from workers.engine import Failure
from workers.text.loading import load

LIMIT_S = 20.0
NUM_LONG = 300


class Hold:
    """Where calls of the model from any thread but this one wait."""

    def __init__(self, model: Any) -> None:
        self._here = threading.current_thread()
        self._call = type(model).__call__
        self.is_open = threading.Event()
        self.has_come = threading.Event()
        self.error: Exception | None = None

        # A function: it is given the model, too.
        def through(*args: Any, **kwargs: Any) -> Any:
            return self._through(*args, **kwargs)

        type(model).__call__ = through

    def close(self) -> None:
        """Hold whoever comes next."""
        self.is_open.clear()
        self.has_come.clear()
        self.error = None

    def _through(self, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not self._here:
            self.has_come.set()
            assert self.is_open.wait(LIMIT_S)
            if self.error:
                raise self.error
        return self._call(*args, **kwargs)


class Run:
    """The outputs of an engine by request, and how many tokens each had."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.outputs: dict[str, list[Any]] = {}

    def add(self, request_id: str, num_prompt: int, max_tokens: int) -> None:
        """Ask for what greedy decoding gives."""
        prompt = tuple(1000 + (ord(request_id[0]) * 7919 + at * 31) % 40_000 for at in range(num_prompt))
        body = CompletionRequest(
            prompt=prompt, max_tokens=max_tokens, sampling=Sampling(temperature=0), ignore_eos=True
        )
        self.outputs[request_id] = []
        self.engine.add(request_id, "completion", body, [])

    def step(self) -> None:
        self.note(self.engine.step())

    def note(self, outputs: Iterable[Any]) -> None:
        for output in outputs:
            self.outputs[output.id].append(output)

    def until(self, is_over: Callable[[], bool], max_steps: int = 500) -> None:
        """Step until it is so."""
        for _ in range(max_steps):
            if is_over():
                return
            self.step()
        raise AssertionError(self.report())

    def drain(self) -> dict[str, Any]:
        """Step to the end; the report."""
        self.until(lambda: not self.engine.has_work())
        return self.report()

    def num_deltas(self, request_id: str) -> int:
        return sum(isinstance(output, Delta) for output in self.outputs[request_id])

    def report(self) -> dict[str, Any]:
        """Of each request its text and its end."""
        ends = {Done: lambda end: end.finish_reason, Failure: lambda end: end.error.message}
        return {
            request_id: [
                "".join(output.text for output in outputs if isinstance(output, Delta)),
                *[ends[type(output)](output) for output in outputs if type(output) in ends],
            ]
            for request_id, outputs in self.outputs.items()
        }


def main(folder: Path) -> None:
    """Play all scenarios."""
    # Stdout is for the report.
    logs.configure("error", "text", "probe")
    # Pieces of prompts are small: each prompt takes many.
    settings = {"prefill_step_tokens": 32, "prompt_cache_bytes": 0}
    engine = load(folder, settings, lambda progress: None)
    hold = Hold(engine._loaded.model)
    told: dict[str, Any] = {}

    def beside() -> Run:
        """A row decodes, and the long prompt of another one is being read."""
        run = Run(engine)
        run.add("a-running", 5, 60)
        run.until(lambda: run.num_deltas("a-running") > 0)
        hold.close()
        run.add("b-reading", NUM_LONG, 8)
        run.step()
        assert hold.has_come.wait(LIMIT_S)
        return run

    alone = Run(engine)
    hold.is_open.set()
    alone.add("a-running", 5, 60)
    alone.drain()
    alone.add("b-reading", NUM_LONG, 8)
    told["alone"] = alone.drain()

    run = beside()
    before = run.num_deltas("a-running")
    for _ in range(10):
        run.step()
    told["deltas of 10 steps"] = run.num_deltas("a-running") - before
    told["told while held"] = sum(isinstance(output, Prefill) for output in run.outputs["b-reading"])
    hold.is_open.set()
    told["together"] = run.drain()
    told["told"] = [output.num_done for output in run.outputs["b-reading"] if isinstance(output, Prefill)]

    run = beside()
    hold.is_open.set()
    run.note(engine.cancel("b-reading"))
    told["cancelled"] = run.drain()

    run = beside()
    hold.error = RuntimeError("it cannot be read")
    hold.is_open.set()
    run.until(lambda: len(run.outputs["b-reading"]) > 0)
    told["failed"] = run.drain()

    run = beside()
    run.until(lambda: any(isinstance(output, Done) for output in run.outputs["a-running"]))
    hold.is_open.set()
    told["left alone"] = run.drain()
    engine.close()

    hold.close()
    serial = Run(load(folder, {**settings, "prefill_beside": False}, lambda progress: None))
    serial.add("a-running", 5, 60)
    serial.until(lambda: serial.num_deltas("a-running") > 0)
    serial.add("b-reading", NUM_LONG, 8)
    told["off"] = serial.drain()
    told["came when off"] = hold.has_come.is_set()
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
