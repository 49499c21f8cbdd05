"""Keys and values within a limit: rows wait, are taken out and come back, and say what they say alone."""

from __future__ import annotations

import pytest
from engine_host import Job, Report, Run, say
from tiny_llama import TOKEN_BYTES

from transports.messages import ChatRequest, Delta, Sampling

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

GREEDY = Sampling(temperature=0)
# Few, so that caches are soon full.
GROWTH_TOKENS = 16


@pytest.fixture
def limited(babble: Run) -> Run:
    """Run jobs with room for so many tokens: `limited(num_tokens, *jobs)`; 0 sets no limit."""

    def limited(num_tokens: int, *jobs: Job, **settings: int) -> Report:
        settings |= {"kv_cache_bytes": num_tokens * TOKEN_BYTES}
        return babble(*jobs, growth_tokens=GROWTH_TOKENS, settings=settings)

    return limited


def story(topic: str, **fields: object) -> ChatRequest:
    """A prompt of about 39 tokens, and an answer of 30."""
    known = {"sampling": GREEDY, "max_tokens": 30, "ignore_eos": True}
    return say(f"Tell me a story about {topic}.", **known | fields)


def test_rows_taken_out_and_let_in_again_say_the_same(limited: Run) -> None:
    """Greedy, seeded, with penalties, a stop string, logprobs: nothing shows that a row was away."""
    drawn = Sampling(temperature=1, seed=7, frequency_penalty=0.5, repetition_penalty=1.1)
    jobs = [
        Job(id="greedy", chat=story("a fox")),
        Job(id="drawn", chat=story("a river", sampling=drawn)),
        Job(id="logprobs", chat=story("a king", top_logprobs=2), add_at=2),
        Job(id="stopped", chat=story("a ship", stop=("the sea",)), add_at=2),
        Job(id="late", chat=story("rain", sampling=Sampling(temperature=1, seed=8)), add_at=4),
    ]
    free = limited(0, *jobs)

    report = limited(190, *jobs)

    assert report.num_withdrawn >= 2
    assert report.most_kv_bytes <= 190 * TOKEN_BYTES < free.most_kv_bytes
    assert [report.text(job.id) for job in jobs] == [free.text(job.id) for job in jobs]
    usages = [report.done(job.id).usage for job in jobs]
    assert [one.completion_tokens for one in usages] == [30, 30, 30, 30, 30]
    assert _logprobs(report, "logprobs") == pytest.approx(_logprobs(free, "logprobs"), abs=1e-3)


def test_who_came_first_is_served_first(limited: Run) -> None:
    """A long prompt waits until others have left, and the short ones after it wait with it."""
    jobs = [
        Job(id="running", chat=story("a fox")),
        Job(id="long", chat=story("a fox and a river and a king " * 12, max_tokens=3), add_at=3),
        *[Job(id=f"short{n}", chat=story("a ship", max_tokens=3), add_at=4) for n in range(3)],
    ]

    report = limited(190, *jobs)

    first = {job.id: report.of(job.id)[0][0] for job in jobs}
    assert report.done("running").usage.completion_tokens == 30
    assert first["running"] < report.of("running")[-1][0] <= first["long"]
    assert first["long"] < min(first[f"short{n}"] for n in range(3))


def test_a_prompt_that_never_fits_fails_with_the_numbers(limited: Run) -> None:
    report = limited(
        100,
        Job(id="long", chat=story("a fox and a river and a king " * 12)),
        Job(id="short", chat=story("a ship", max_tokens=3), add_at=1),
    )

    error = report.error("long")
    assert error.code == "out_of_memory"
    assert str(100 * TOKEN_BYTES) in error.message
    assert report.done("short").usage.completion_tokens == 3


def test_a_row_that_outgrows_the_memory_ends_with_what_it_has(limited: Run) -> None:
    jobs = [Job(id="endless", chat=story("a fox", max_tokens=200)), Job(id="other", chat=story("a king"))]

    report = limited(90, *jobs)

    done = report.done("endless")
    assert done.finish_reason == "length"
    assert 30 < done.usage.completion_tokens < 60
    assert done.usage.completion_tokens + done.usage.prompt_tokens <= 90
    assert report.text("endless")
    assert report.done("other").usage.completion_tokens == 30
    assert report.most_kv_bytes <= 90 * TOKEN_BYTES


def test_the_prompt_cache_makes_room_before_anyone_waits(limited: Run) -> None:
    """Room for two rows: what an ended one left is kept until the second needs its place."""
    jobs = [
        Job(id="first", chat=story("a fox", max_tokens=8)),
        Job(id="again", chat=story("a fox", max_tokens=8), add_at=20),
        Job(id="beside", chat=story("the wide river", max_tokens=8), add_at=21),
    ]

    report = limited(130, *jobs)

    assert report.done("again").usage.cached_tokens > 30
    assert report.num_withdrawn == 0
    assert report.of("beside")[0][0] <= 25
    assert report.most_kv_bytes <= 130 * TOKEN_BYTES


def test_a_step_without_memory_costs_nobody_an_answer(babble: Run) -> None:
    jobs = [Job(id=topic, chat=story(topic, max_tokens=8)) for topic in ("a fox", "a king", "a ship")]
    expected = babble(*jobs)

    report = babble(*jobs, out_of_memory_at=6)

    assert [report.text(job.id) for job in jobs] == [expected.text(job.id) for job in jobs]


def test_with_memory_for_two_rows_the_others_wait(babble: Run) -> None:
    drawn = Sampling(temperature=1, seed=7)
    jobs = [
        Job(id="greedy", chat=story("a fox", max_tokens=8)),
        Job(id="drawn", chat=story("a king", max_tokens=12, sampling=drawn)),
        Job(id="third", chat=story("a ship", max_tokens=8)),
        Job(id="fourth", chat=story("rain", max_tokens=3), add_at=4),
    ]
    expected = babble(*jobs)

    report = babble(*jobs, out_of_memory_above=2)

    assert [report.text(job.id) for job in jobs] == [expected.text(job.id) for job in jobs]


def test_a_row_without_memory_fails_alone_and_the_engine_works_on(babble: Run) -> None:
    job = Job(id="only", chat=story("a fox"))
    expected = babble(job)

    failed, after = babble(job, out_of_memory_above=0), babble(job)

    assert failed.error("only").code == "out_of_memory"
    assert after.text("only") == expected.text("only") != ""


def _logprobs(report: Report, job: str) -> list[float]:
    deltas = [one for _, one in report.of(job) if isinstance(one, Delta)]
    return [one.logprob for delta in deltas for one in delta.logprobs]
