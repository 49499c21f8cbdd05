"""The text engine against the library under it: one stream, and eight at once, in turn in one process.

Run with the text worker's Python: PYTHONPATH=. python tests/benchmarks/engine_decode.py MODEL_FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from workers.blas import openblas_is_loaded, preload_openblas

preload_openblas(sys.orig_argv)

import mlx.core as mx  # noqa: E402
from mlx_lm.generate import BatchGenerator, stream_generate  # noqa: E402
from mlx_lm.utils import load_tokenizer  # noqa: E402

from transports.messages import CompletionRequest, Delta, Done, Sampling  # noqa: E402
from workers.text.engine import TextEngine  # noqa: E402
from workers.text.loading import load  # noqa: E402

GREEDY = Sampling(temperature=0)
NUM_STREAMS = 8

Prompt = list[int]


def main() -> None:
    """Print both ratios."""
    arguments = _arguments()
    engine = load(arguments.model, _settings(arguments.set), lambda progress: None)
    tokenizer = load_tokenizer(arguments.model)
    text = "Once upon a time there was a fox that lived by a wide and slow river. " * 20
    words = tokenizer.encode(text)[: arguments.prompt_tokens - 1]

    def prompts(round_number: int, count: int) -> list[Prompt]:
        # Another first token each time: nothing is found in the prompt cache.
        return [[1000 + round_number * NUM_STREAMS + at, *words] for at in range(count)]

    model = engine._loaded.model
    # A prompt's first tokens pay for compiled kernels.
    library_stream(model, tokenizer, prompts(0, 1)[0], 4)
    engine_batch(engine, prompts(0, NUM_STREAMS), 4)
    tokens = arguments.tokens
    one, eight = [], []
    for n in range(1, arguments.rounds + 1):
        # Who is first alternates, for machines that drift.
        is_swapped = n % 2 == 0
        one.append(
            _pair(
                partial(library_stream, model, tokenizer, prompts(2 * n, 1)[0], tokens),
                partial(engine_stream, engine, prompts(2 * n + 1, 1)[0], tokens),
                is_swapped,
            )
        )
        eight.append(
            _pair(
                partial(library_batch, model, prompts(100 + n, NUM_STREAMS), tokens),
                partial(engine_batch, engine, prompts(200 + n, NUM_STREAMS), tokens),
                is_swapped,
            )
        )
    report = {
        "model": arguments.model.name,
        "device": engine.info.device,
        "cpus": os.cpu_count(),
        "openblas": openblas_is_loaded(),
        "mlx": mx.__version__,
        "prompt_tokens": arguments.prompt_tokens,
        "tokens": arguments.tokens,
        "rounds": arguments.rounds,
        "one_stream": _summary(one),
        "eight_streams": _summary(eight),
    }
    if arguments.json:
        print(json.dumps(report))
        return
    for key, value in report.items():
        if not isinstance(value, dict):
            print(f"{key:<14} {value}")
    print(f"\n{'':<14} {'':<10} {'library':>9} {'engine':>9} {'ratio':>7}   (lowest - highest)")
    for name in ("one_stream", "eight_streams"):
        for clock, row in report[name].items():
            spread = f"({row['lowest']:.2f} - {row['highest']:.2f})"
            numbers = f"{row['library']:>9.1f} {row['engine']:>9.1f} {row['ratio']:>7.3f}"
            print(f"{name:<14} {clock:<10} {numbers}   {spread}")


class Rate(NamedTuple):
    """Tokens a second by the wall, and a second of CPU: the latter hardly feels other programs."""

    wall: float
    cpu: float


def now() -> Rate:
    """Both clocks."""
    return Rate(time.perf_counter(), time.process_time())


def rate(num_tokens: int, start: Rate, end: Rate) -> Rate:
    """What was done between two looks at the clocks."""
    return Rate(num_tokens / (end.wall - start.wall), num_tokens / (end.cpu - start.cpu))


def library_stream(model: object, tokenizer: object, prompt: Prompt, num_tokens: int) -> Rate:
    """mlx_lm.stream_generate after its first token."""
    tokenizer.eos_token_ids = []  # type: ignore[attr-defined]
    times = [now() for _ in stream_generate(model, tokenizer, prompt, max_tokens=num_tokens)]
    return rate(len(times) - 1, times[0], times[-1])


def library_read(model: object, tokenizer: object, prompt: Prompt) -> Rate:
    """mlx_lm.stream_generate up to its first token; tokens of the prompt a second."""
    start = now()
    next(stream_generate(model, tokenizer, prompt, max_tokens=1))
    return rate(len(prompt), start, now())


def library_batch(model: object, prompts: list[Prompt], num_tokens: int) -> Rate:
    """mlx-lm's BatchGenerator, the whole run with prompts."""
    stream = mx.default_stream(mx.default_device())
    generator = BatchGenerator(model, completion_batch_size=32, stream=stream)
    start = now()
    generator.insert(prompts, max_tokens=[num_tokens] * len(prompts))
    count = 0
    while count < num_tokens * len(prompts):
        count += len(generator.next()[1])
    return rate(count, start, now())


def engine_stream(engine: TextEngine, prompt: Prompt, num_tokens: int) -> Rate:
    """The engine with one request, after its first token."""
    _, first, end, count = _engine_run(engine, [prompt], num_tokens)
    return rate(count - 1, first, end)


def engine_batch(engine: TextEngine, prompts: list[Prompt], num_tokens: int) -> Rate:
    """The engine with several requests, the whole run with prompts."""
    start, _, end, count = _engine_run(engine, prompts, num_tokens)
    return rate(count, start, end)


def _engine_run(engine: TextEngine, prompts: list[Prompt], num_tokens: int) -> tuple[Rate, Rate, Rate, int]:
    start = now()
    for at, prompt in enumerate(prompts):
        body = CompletionRequest(
            prompt=tuple(prompt), sampling=GREEDY, max_tokens=num_tokens, ignore_eos=True
        )
        engine.add(f"benchmark-{at}", "completion", body, [])
    first, count = None, 0
    while engine.has_work():
        for output in engine.step():
            if first is None and isinstance(output, Delta):
                first = now()
            if isinstance(output, Done):
                count += output.usage.completion_tokens
    return start, first or start, now(), count


def _pair(library: Callable[[], Rate], engine: Callable[[], Rate], is_swapped: bool) -> tuple[Rate, Rate]:
    if is_swapped:
        measured = engine()
        return library(), measured
    return library(), engine()


def _summary(pairs: list[tuple[Rate, Rate]]) -> dict[str, dict[str, float]]:
    return {
        clock: {
            "library": statistics.median(library[at] for library, _ in pairs),
            "engine": statistics.median(engine[at] for _, engine in pairs),
            "ratio": statistics.median(engine[at] / library[at] for library, engine in pairs),
            "lowest": min(engine[at] / library[at] for library, engine in pairs),
            "highest": max(engine[at] / library[at] for library, engine in pairs),
        }
        for at, clock in enumerate(("tok/s", "tok/CPU-s"))
    }


def _settings(pairs: list[str]) -> dict[str, int]:
    return {key: int(value) for key, _, value in (pair.partition("=") for pair in pairs)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=NUMBER", help="a setting of [text]"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
