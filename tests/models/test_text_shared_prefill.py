"""Several answers to one prompt: the model reads it once, and each answer is what it would be alone.

Of the text a model of noise, which loads in no time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_host import Host, Job, Report, Run, Scenario, say
from test_vision_engine import CARD
from vision_jobs import job

from transports.messages import ChatRequest, CompletionRequest, Sampling

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

QUESTION = "Tell me about the sea, the ships on it and the people who live by it."
# An engine of its own, which has read nothing: each test has other settings.
SMALL_STEPS = {"prefill_step_tokens": 16, "prompt_cache_bytes": 0}


@pytest.fixture(scope="module")
def run(host: Host, tiny_llama: Path) -> Run:
    """Run jobs on the model of noise; keyword arguments are fields of `Scenario`."""

    def run(*jobs: Job, **fields: object) -> Report:
        return host.run(Scenario(path=str(tiny_llama), jobs=list(jobs), settings=SMALL_STEPS, **fields))  # type: ignore[arg-type]

    return run


def asked(seed: int, **fields: object) -> ChatRequest:
    return say(QUESTION, sampling=Sampling(temperature=1, seed=seed), **{"max_tokens": 4} | fields)


def cached(report: Report, names: str) -> list[int]:
    return [report.done(name).usage.cached_tokens for name in names]


@pytest.mark.parametrize("is_uncuttable", [False, True])
def test_a_prompt_is_read_once_for_all_its_answers(run: Run, is_uncuttable: bool) -> None:
    jobs = [Job(id=name, chat=asked(seed)) for name, seed in zip("abc", (5, 6, 5), strict=True)]
    alone = [run(one).text(one.id) for one in jobs[:2]]

    report = run(*jobs, is_uncuttable=is_uncuttable)

    num_prompt = report.done("a").usage.prompt_tokens
    assert report.num_read == num_prompt - 1
    assert cached(report, "abc") == [0, num_prompt - 1, num_prompt - 1]
    assert [report.text(name) for name in "abc"] == [*alone, alone[0]]
    assert len(set(alone)) == 2


def test_who_comes_while_a_twin_reads_or_answers_reads_nothing(run: Run) -> None:
    jobs = [Job(id="a", chat=asked(5, max_tokens=8)), Job(id="b", chat=asked(6), add_at=1)]
    late = Job(id="c", chat=asked(7, max_tokens=2), add_at=6)
    # Whoever holds another key is told nothing by the time that an answer takes.
    stranger = Job(id="e", chat=asked(5, cache_salt=1, max_tokens=1))
    other = Job(id="d", chat=say("Hello", sampling=Sampling(temperature=0), max_tokens=1), add_at=2)

    report = run(*jobs, late, stranger, other)

    num_prompt = report.done("a").usage.prompt_tokens
    assert cached(report, "abce") == [0, num_prompt - 1, num_prompt - 1, 0]
    # Nobody waits with them who asked something else.
    assert report.of("d")[0][0] <= report.of("b")[0][0]
    assert report.num_read == 2 * (num_prompt - 1) + report.done("d").usage.prompt_tokens - 1


def test_those_who_come_late_join_in_the_same_step(run: Run) -> None:
    """Who has found all of its prompt is no reader to wait for."""
    jobs = [Job(id="a", chat=asked(5, max_tokens=16)), *(Job(id=n, chat=asked(6), add_at=8) for n in "bcd")]

    report = run(*jobs)

    assert len({report.of(name)[0][0] for name in "bcd"}) == 1
    assert report.num_read == report.done("a").usage.prompt_tokens - 1


def test_the_next_one_reads_on_when_the_reader_is_cancelled(run: Run) -> None:
    jobs = [Job(id="a", chat=asked(5), cancel_at=2), *(Job(id=n, chat=asked(6)) for n in "bc")]

    report = run(*jobs)

    assert report.done("a").finish_reason == "cancelled"
    assert report.text("b") == report.text("c") != ""
    assert cached(report, "bc") == [0, report.done("b").usage.prompt_tokens - 1]


def test_who_wants_the_logprobs_of_the_prompt_reads_it(run: Run) -> None:
    plain = CompletionRequest(prompt=QUESTION, max_tokens=2, sampling=Sampling(temperature=0))
    told = CompletionRequest(
        prompt=QUESTION, max_tokens=2, echo=True, top_logprobs=0, sampling=Sampling(temperature=0)
    )

    report = run(Job(id="a", completion=plain), Job(id="b", completion=told))

    logprobs = [one for _, item in report.of("b") for one in getattr(item, "logprobs", ())]
    assert len(logprobs) == report.done("b").usage.prompt_tokens + 2
    assert report.text("b") == QUESTION + report.text("a")


def test_a_picture_is_read_once_for_all_its_answers(look: Run) -> None:
    hot = [Sampling(temperature=2, seed=seed) for seed in (5, 6)]
    jobs = [
        job(name, [CARD, "Describe it."], sampling=one, max_tokens=6)
        for name, one in zip("ab", hot, strict=True)
    ]
    settings = {"prompt_cache_bytes": 0, "prefill_step_tokens": 64}
    alone = [look(one, settings=settings).text(one.id) for one in jobs]

    report = look(*jobs, settings=settings)

    num_prompt = report.done("a").usage.prompt_tokens
    assert cached(report, "ab") == [0, num_prompt - 1]
    assert [report.text(name) for name in "ab"] == alone
