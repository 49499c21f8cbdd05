"""What the engine says of a prompt is what plain mlx-lm says of it, also beside running answers."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

import pytest
from engine_host import Job, Report, Run, say

from transports.messages import CompletionRequest, Delta, Sampling, TokenLogprob

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
GREEDY = Sampling(temperature=0)
# Of any length; the longest takes several chunks, the last is one token.
PROMPTS = [
    [504, 3575, 282, 4649, 314, 7042, 30],
    [30 + 7 * n % 40000 for n in range(150)],
    [8683, 28, 665, 28],
    [504],
]
# lm-evaluation-harness's own tolerance for equal scores.
CLOSE = 1e-3


def scored(prompt: str | list[int], **fields: object) -> CompletionRequest:
    wanted = {"echo": True, "top_logprobs": 1, "max_tokens": 1, "sampling": GREEDY} | fields
    return CompletionRequest(prompt=prompt if isinstance(prompt, str) else tuple(prompt), **wanted)  # type: ignore[arg-type]


def logprobs_of(report: Report, job: str) -> list[TokenLogprob]:
    return [one for _, item in report.of(job) if isinstance(item, Delta) for one in item.logprobs]


@pytest.fixture(scope="module")
def expected(text_python: str, smollm2: Path) -> list[dict[str, list[float]]]:
    probe = Path(__file__).with_name("loglikelihood_probe.py")
    done = subprocess.run(
        [text_python, "-P", str(probe)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=json.dumps({"path": str(smollm2), "prompts": PROMPTS}) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answers: list[dict[str, list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_a_prompt_has_the_logprobs_of_plain_mlx_lm(run: Run, expected: list[dict[str, list[float]]]) -> None:
    jobs = [Job(id=f"p{n}", completion=scored(prompt)) for n, prompt in enumerate(PROMPTS)]
    neighbour = Job(id="story", chat=say("Tell me a story.", sampling=GREEDY, max_tokens=8))
    report = run(neighbour, *jobs)

    for n, (prompt, plain) in enumerate(zip(PROMPTS, expected, strict=True)):
        first, *scores = logprobs_of(report, f"p{n}")
        assert math.isnan(first.logprob)
        # The prompt's, and the answer's one token.
        assert len(scores) == len(prompt)
        assert [one.logprob for one in scores[:-1]] == pytest.approx(plain["logprobs"], abs=CLOSE)
        assert scores[-1].logprob == pytest.approx(plain["last"], abs=CLOSE)
        # What lm-eval takes "is_greedy" from.
        is_best = [one.top[0].logprob == one.logprob for one in scores[:-1]]
        assert is_best == [token == best for token, best in zip(prompt[1:], plain["best"], strict=False)]
        assert report.done(f"p{n}").usage.prompt_tokens == len(prompt)
        assert report.done(f"p{n}").usage.cached_tokens == 0


def test_without_an_answer_there_is_only_the_prompt(run: Run) -> None:
    text = "The capital of France is Paris."
    report = run(
        Job(id="scored", completion=scored(text, max_tokens=0)),
        Job(id="plain", completion=scored(text, max_tokens=0, top_logprobs=None)),
    )

    for job in ("scored", "plain"):
        assert report.text(job) == text
        assert report.done(job).finish_reason == "length"
        assert report.done(job).usage.completion_tokens == 0
    names = "".join(one.token for one in logprobs_of(report, "scored"))
    assert names == text
    assert logprobs_of(report, "plain") == []


def test_an_end_token_has_a_place_beside_a_prompts(run: Run) -> None:
    """lm-eval takes the last logprob for that of the answer's token, and leaves it out."""
    chat = "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>"
    ended = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ended += "The capital of France is Paris."
    report = run(Job(id="ended", completion=scored(ended)), Job(id="more", completion=scored(chat)))

    assert report.done("ended").finish_reason == "stop"
    for job in ("ended", "more"):
        assert len(logprobs_of(report, job)) == report.done(job).usage.prompt_tokens + 1
    assert report.text("ended").endswith("is Paris.")


def test_a_prompt_that_is_being_scored_can_be_cancelled(run: Run) -> None:
    report = run(
        Job(id="gone", completion=scored(PROMPTS[1]), cancel_at=1),
        Job(id="stays", completion=scored(PROMPTS[0])),
    )

    assert report.done("gone").finish_reason == "cancelled"
    assert len(logprobs_of(report, "gone")) < len(PROMPTS[1])
    assert report.done("stays").finish_reason == "length"


def test_a_token_that_is_none_fails_alone(run: Run) -> None:
    report = run(Job(id="bad", completion=scored([1, 10**6])), Job(id="good", completion=scored([1, 2])))

    assert report.error("bad").param == "prompt"
    assert report.done("good").finish_reason in ("length", "stop")
