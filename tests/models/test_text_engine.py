"""The text engine on SmolLM2-135M-Instruct: who joins, leaves or breaks changes nobody else's text."""

from __future__ import annotations

import sys
from itertools import pairwise

import msgspec
import pytest
from engine_host import Job, Run, say

from transports.messages import ChatMessage, ChatRequest, CompletionRequest, Delta, Prefill, Sampling

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

GREEDY = Sampling(temperature=0)
NUM_LAYERS = 30


def story(topic: str, **fields: object) -> ChatRequest:
    return say(f"Tell me a story about {topic}.", **{"sampling": GREEDY, "max_tokens": 12} | fields)


def test_a_question_gets_its_answer(run: Run) -> None:
    report = run(Job(id="paris", chat=say("What is the capital of France?", sampling=GREEDY)))

    assert report.text("paris") == "The capital of France is Paris."
    done = report.done("paris")
    assert done.finish_reason == "stop"
    # Seven tokens of text and the one that ends the turn.
    assert done.usage.completion_tokens == 8
    assert done.usage.prompt_tokens == 37


def test_weights_are_dense_and_load_is_reported(run: Run) -> None:
    report = run(settings={"num_slots": 3})

    assert report.device == "cpu"
    assert report.load_fractions[0] == 0.0
    assert report.load_fractions[-1] == 1.0
    assert report.load_fractions == sorted(report.load_fractions)


def test_nobody_waits_for_the_tables_of_a_first_grammar(run: Run) -> None:
    """llguidance holds Python's lock while it makes them, so that no answer would go on."""
    report = run()

    assert report.has_vocabulary_tables


def test_rows_say_the_same_alone_and_among_others(run: Run) -> None:
    """Neighbours with other parameters join, end and are cancelled while the rows decode."""
    greedy = Job(id="greedy", chat=story("a fox"))
    drawn = Sampling(temperature=0.9, top_p=0.9, top_k=50, frequency_penalty=0.5, seed=11)
    seeded = Job(id="seeded", chat=story("a river", sampling=drawn))
    neighbours = [
        Job(id="n1", chat=story("a king", sampling=Sampling(temperature=1, seed=1), max_tokens=3)),
        Job(id="n2", chat=story("a ship", max_tokens=20), add_at=2, cancel_at=8),
        Job(
            id="n3",
            chat=story("two cats and a very long road", sampling=Sampling(temperature=1, min_p=0.1)),
            add_at=3,
        ),
        Job(
            id="n4",
            chat=story("a tower", sampling=Sampling(temperature=1, top_k=5, seed=3), max_tokens=2),
            add_at=4,
        ),
        Job(id="n5", chat=story("rain", sampling=Sampling(temperature=1, xtc_probability=1.0)), add_at=5),
        Job(id="n6", completion=CompletionRequest(prompt="One, two,", max_tokens=9), add_at=6),
    ]
    alone = run(greedy).text("greedy"), run(seeded).text("seeded")

    together = run(greedy, seeded, *neighbours)

    assert alone == (together.text("greedy"), together.text("seeded"))


def test_a_seed_decides_the_text(babble: Run) -> None:
    def asked(seed: int) -> ChatRequest:
        return story("a fox", sampling=Sampling(temperature=1, seed=seed))

    report = babble(Job(id="a", chat=asked(5)), Job(id="b", chat=asked(5)), Job(id="c", chat=asked(6)))

    assert report.text("a") == report.text("b")
    assert report.text("a") != report.text("c")


def test_without_a_seed_answers_differ(babble: Run) -> None:
    asked = story("a fox", sampling=Sampling(temperature=1))

    report = babble(Job(id="a", chat=asked), Job(id="b", chat=asked))

    assert report.text("a") != report.text("b")


def test_a_stop_string_ends_the_row_across_token_borders(run: Run) -> None:
    """The tokens are " capital" and " of": the stop string begins inside one and ends in the next."""
    asked = say("What is the capital of France?", sampling=GREEDY, stop=("pital of",))

    report = run(Job(id="stopped", chat=asked))

    assert report.text("stopped") == "The ca"
    done = report.done("stopped")
    assert (done.finish_reason, done.stop) == ("stop", "pital of")
    assert done.usage.completion_tokens == 3


def test_an_unfinished_stop_string_is_shown_at_the_end(run: Run) -> None:
    asked = say("What is the capital of France?", sampling=GREEDY, stop=("Paris. It",))

    report = run(Job(id="whole", chat=asked))

    assert report.text("whole") == "The capital of France is Paris."
    assert report.done("whole").stop is None


def test_max_tokens_ends_with_length(run: Run) -> None:
    report = run(Job(id="short", chat=say("What is the capital of France?", sampling=GREEDY, max_tokens=3)))

    assert report.text("short") == "The capital of"
    assert report.done("short").finish_reason == "length"
    assert report.done("short").usage.completion_tokens == 3


def test_ignore_eos_goes_on(run: Run) -> None:
    asked = say("What is the capital of France?", sampling=GREEDY, max_tokens=12, ignore_eos=True)

    report = run(Job(id="on", chat=asked))

    assert report.text("on").startswith("The capital of France is Paris.")
    assert report.done("on").usage.completion_tokens == 12


def test_a_completion_keeps_its_leading_space(run: Run) -> None:
    asked = CompletionRequest(prompt="The quick brown fox jumps over", sampling=GREEDY, max_tokens=3)

    report = run(Job(id="fox", completion=asked))

    assert report.text("fox") == " a lazy dog"


def test_a_prompt_of_one_token_is_answered_alone_and_among_others(run: Run) -> None:
    def asked(token: int) -> CompletionRequest:
        return CompletionRequest(prompt=(token,), sampling=GREEDY, max_tokens=4)

    alone = [run(Job(id=str(token), completion=asked(token))).text(str(token)) for token in (500, 600)]
    together = run(*[Job(id=str(token), completion=asked(token)) for token in (500, 600)])

    assert all(alone)
    assert alone == [together.text("500"), together.text("600")]


def test_echo_gives_the_prompt_back_first(run: Run) -> None:
    asked = CompletionRequest(prompt="One, two,", sampling=GREEDY, max_tokens=1, echo=True)

    report = run(Job(id="echo", completion=asked))

    assert report.text("echo").startswith("One, two, ")


def test_characters_of_several_tokens_arrive_whole(run: Run) -> None:
    asked = CompletionRequest(prompt="🦊🐻🦊🐻🦊🐻🦊🐻🦊🐻", sampling=GREEDY, max_tokens=14)

    report = run(Job(id="emoji", completion=asked))

    texts = [one.text for _, one in report.of("emoji") if isinstance(one, Delta)]
    assert "🐻" in "".join(texts)
    assert "\ufffd" not in "".join(texts)
    assert len(texts) < report.done("emoji").usage.completion_tokens


def test_a_cancelled_row_leaves_at_once(babble: Run) -> None:
    report = babble(
        Job(id="gone", chat=story("a fox", max_tokens=50), cancel_at=6), Job(id="stays", chat=story("a king"))
    )

    assert report.done("gone").finish_reason == "cancelled"
    assert report.of("gone")[-1][0] == 6
    assert report.done("stays").finish_reason == "length"


def test_a_row_cancelled_while_its_prompt_is_read_leaves_at_once(babble: Run) -> None:
    """What was read of the prompt is not lost: the same prompt is shorter the next time."""
    long = say("fox and river " * 60, sampling=GREEDY, max_tokens=2)

    report = babble(
        Job(id="gone", chat=long, cancel_at=3),
        Job(id="stays", chat=story("a king")),
        Job(id="again", chat=long, add_at=4),
        settings={"prefill_step_tokens": 64},
    )

    assert [one for _, one in report.of("gone")][-1] == report.done("gone")
    assert report.done("gone").usage.completion_tokens == 0
    assert report.done("stays").finish_reason == "length"
    assert report.done("again").usage.cached_tokens > 60


def test_progress_grows_with_each_step(babble: Run) -> None:
    report = babble(Job(id="a", chat=story("a fox")))

    assert report.progress == sorted(set(report.progress))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere mlx computes whole steps by itself")
def test_each_layer_of_a_prompt_is_progress(run: Run) -> None:
    """A step takes minutes where other processes have the processor, and would look like one that hangs."""
    report = run(Job(id="long", chat=say("word " * 200, max_tokens=1), add_at=1))

    assert max(after - before for before, after in pairwise(report.progress)) >= NUM_LAYERS


@pytest.mark.parametrize("is_beside", [True, False])
def test_a_long_prompt_does_not_starve_a_running_stream(run: Run, is_beside: bool) -> None:
    long = say("word " * 300, sampling=GREEDY, max_tokens=2)

    report = run(
        Job(id="running", chat=story("a fox", max_tokens=25)),
        Job(id="long", chat=long, add_at=4),
        settings={"prefill_step_tokens": 64, "prefill_beside": is_beside},
    )

    chunks = [
        (step, one.num_done, one.num_total) for step, one in report.of("long") if isinstance(one, Prefill)
    ]
    assert len(chunks) >= 5
    assert [done for _, done, _ in chunks] == sorted(done for _, done, _ in chunks)
    assert {total for _, _, total in chunks} == {report.done("long").usage.prompt_tokens}
    streamed = {step for step, one in report.of("running") if isinstance(one, Delta)}
    # A machine that is busy reads in smaller pieces, and may not be through when the stream ends.
    beside = {step for step, _, _ in chunks if step <= max(streamed)}
    # In a thread of its own a piece takes as many steps as it takes.
    assert is_beside or len(beside) >= 5
    assert beside <= streamed


def test_a_second_turn_reuses_the_first(run: Run) -> None:
    first = (ChatMessage(role="user", content="What is the capital of France?"),)
    second = (
        *first,
        ChatMessage(role="assistant", content="The capital of France is Paris."),
        ChatMessage(role="user", content="And of Italy?"),
    )
    jobs = [
        Job(id="first", chat=ChatRequest(messages=first, sampling=GREEDY)),
        Job(id="second", chat=ChatRequest(messages=second, sampling=GREEDY, max_tokens=8), add_at=20),
        Job(id="repeat", chat=ChatRequest(messages=second, sampling=GREEDY, max_tokens=8), add_at=40),
    ]

    cached = run(*jobs, settings={"num_slots": 5})
    uncached = run(*jobs, settings={"prompt_cache_bytes": 0})

    assert [uncached.done(job.id).usage.cached_tokens for job in jobs] == [0, 0, 0]
    usage = cached.done("second").usage
    assert 37 < usage.cached_tokens < usage.prompt_tokens
    assert cached.done("repeat").usage.cached_tokens == usage.prompt_tokens - 1
    assert [cached.text(job.id) for job in jobs] == [uncached.text(job.id) for job in jobs]


@pytest.mark.parametrize("broken_from", [0, 4])
def test_a_broken_row_fails_alone(babble: Run, broken_from: int) -> None:
    """The step raises while the row is in the batch; the others go on without a gap or a repeat."""
    drawn = Sampling(temperature=1, seed=5, presence_penalty=0.5)
    good = [Job(id="greedy", chat=story("a fox")), Job(id="seeded", chat=story("a king", sampling=drawn))]
    late = Job(id="late", chat=story("a ship"), add_at=9)
    bad = Job(id="bad", chat=story("a river", sampling=Sampling(temperature=1, seed=666)), add_at=4)
    alone = {job.id: babble(msgspec.structs.replace(job, add_at=0)).text(job.id) for job in [*good, late]}

    report = babble(*good, bad, late, broken_seed=666, broken_from=broken_from)

    assert report.error("bad").code == "worker_error"
    assert {job: report.text(job) for job in alone} == alone
    assert {report.done(job).usage.completion_tokens for job in alone} == {12}


def test_a_row_alone_that_breaks_leaves_the_engine_working(run: Run) -> None:
    broken = run(
        Job(id="bad", chat=story("a river", sampling=Sampling(temperature=1, seed=666))), broken_seed=666
    )
    after = run(Job(id="paris", chat=say("What is the capital of France?", sampling=GREEDY)))

    assert broken.error("bad").code == "worker_error"
    assert after.text("paris") == "The capital of France is Paris."
