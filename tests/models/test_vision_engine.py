"""The vision engine on demo/tiny-vl: what it says is about the picture, whoever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pictures
import pytest
from engine_host import Job, Run
from PIL import Image as Pillow
from vision_jobs import engine_tokens, job, library_tokens

from transports.messages import CompletionRequest, Delta, Prefill, Sampling

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

RED_CIRCLE = pictures.shapes(("red", "circle"))
BLUE_SQUARE = pictures.shapes(("blue", "square"))
CARD = pictures.scorecard(("Budget", "42", "green"), ("Quality", "17", "red"), ("Schedule", "88", "amber"))
THREE = pictures.shapes(("green", "circle"), ("red", "circle"), ("red", "square"))
COLOR, SHAPE = "What color is the shape?", "What shape is this?"
ANSWERS = [
    (RED_CIRCLE, COLOR, "red"),
    (BLUE_SQUARE, SHAPE, "square"),
    (
        pictures.shapes(("green", "circle"), ("red", "circle"), ("red", "square")),
        "How many shapes are there?",
        "3",
    ),
    (pictures.text("427"), "What number is written?", "427"),
    (CARD, "Which row is red?", "Quality"),
]
COUNT = "Count to 30."
COUNTED = ", ".join(map(str, range(1, 31)))


@pytest.mark.parametrize(("picture", "question", "answer"), ANSWERS)
def test_the_answer_is_about_the_picture(
    look: Run, picture: Pillow.Image, question: str, answer: str
) -> None:
    report = look(job("only", [picture, question]))

    assert report.text("only") == answer
    assert report.done("only").finish_reason == "stop"


def test_tokens_are_those_of_mlx_vlm(look: Run, vision_python: str, tiny_vl: Path) -> None:
    asked = [[picture, question] for picture, question, _ in ANSWERS]
    asked += [[RED_CIRCLE, BLUE_SQUARE, "Describe the images."], ["Hello"]]
    expected = library_tokens(vision_python, [tiny_vl], asked)

    report = look(*(job(str(at), turn, top_logprobs=0) for at, turn in enumerate(asked)))

    assert expected == [engine_tokens(report, str(at)) for at in range(len(asked))]


def test_rows_say_the_same_alone_and_among_others(look: Run) -> None:
    """Each row counts places from its own pictures on; neighbours join, end and are cancelled."""
    jobs = [
        job("circle", [RED_CIRCLE, "Describe the image."]),
        job("both", [RED_CIRCLE, BLUE_SQUARE, "Describe the images."], add_at=2),
        job("count", [COUNT]),
        job("drawn", [CARD, "Describe the image."], sampling=Sampling(temperature=1.5, seed=5), add_at=1),
    ]
    alone = {one.id: look(msgspec.structs.replace(one, add_at=0)).text(one.id) for one in jobs}
    neighbours = [
        job("n1", [BLUE_SQUARE, COLOR], add_at=5),
        job("n2", [COUNT], add_at=1, cancel_at=9),
        Job(id="n3", completion=CompletionRequest(prompt="One, two,", max_tokens=9), add_at=3),
    ]

    together = look(*jobs, *neighbours, settings={"prompt_cache_bytes": 0, "image_cache_bytes": 0})

    assert alone == {one.id: together.text(one.id) for one in jobs}


def test_rows_taken_out_and_let_in_again_say_the_same(look: Run) -> None:
    """Keys and values within a limit: rows wait, also those whose pictures are seen already."""
    long = {"ignore_eos": True, "max_tokens": 60}
    drawn = Sampling(temperature=1.5, seed=5)
    jobs = [
        job("circle", [RED_CIRCLE, "Describe the image."], **long),
        job("count", [COUNT], add_at=1, **long),
        job("both", [RED_CIRCLE, BLUE_SQUARE, "Describe the images."], add_at=2, **long),
        job("drawn", [CARD, "Describe the image."], sampling=drawn, add_at=3, **long),
    ]
    free = look(*jobs, growth_tokens=16, settings={"prompt_cache_bytes": 0})
    limit = free.most_kv_bytes * 4 // 5

    report = look(*jobs, growth_tokens=16, settings={"prompt_cache_bytes": 0, "kv_cache_bytes": limit})

    assert report.num_withdrawn >= 1
    assert report.most_kv_bytes <= limit
    assert [report.text(one.id) for one in jobs] == [free.text(one.id) for one in jobs]


def test_two_pictures_keep_their_order(look: Run) -> None:
    question = "What color is the shape in the second image?"
    report = look(
        job("blue", [RED_CIRCLE, BLUE_SQUARE, question]), job("red", [BLUE_SQUARE, RED_CIRCLE, question])
    )

    assert ("blue", "red") == (report.text("blue"), report.text("red"))


def test_a_later_question_is_about_the_first_picture(look: Run) -> None:
    report = look(job("turns", [RED_CIRCLE, COLOR], ["red"], ["What shape is this?"]))

    assert report.text("turns") == "circle"


def test_a_picture_may_come_in_a_later_turn(look: Run) -> None:
    report = look(
        job("turns", ["Hello"], ["Hello! Send me an image and ask about it."], [BLUE_SQUARE, COLOR])
    )

    assert report.text("turns") == "blue"


def test_text_alone_is_answered(look: Run) -> None:
    report = look(job("text", [COUNT], max_tokens=120))

    assert report.text("text") == COUNTED


def test_a_completion_is_answered(look: Run) -> None:
    prompt = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    report = look(Job(id="raw", completion=CompletionRequest(prompt=prompt, max_tokens=20, echo=True)))

    assert report.text("raw").startswith(prompt)
    assert len(report.text("raw")) > len(prompt)


def test_a_cancelled_row_says_no_more(look: Run) -> None:
    report = look(job("gone", [COUNT], cancel_at=8), job("stays", [RED_CIRCLE, COLOR]))

    assert report.done("gone").finish_reason == "cancelled"
    assert COUNTED.startswith(report.text("gone"))
    assert report.of("gone")[-1][0] == 8
    assert report.text("stays") == "red"


def test_a_row_is_cancelled_before_its_second_picture_is_seen(look: Run) -> None:
    fresh = [pictures.plain("green"), pictures.plain("orange")]
    report = look(job("gone", [*fresh, COLOR], cancel_at=1), job("stays", [RED_CIRCLE, COLOR]))

    assert report.done("gone").finish_reason == "cancelled"
    assert report.text("gone") == ""
    assert report.text("stays") == "red"


def test_a_stop_string_ends_the_answer(look: Run) -> None:
    report = look(job("stopped", [COUNT], stop=("11, 1",), max_tokens=120))

    assert report.text("stopped") == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, "
    assert report.done("stopped").stop == "11, 1"


def test_logprobs_name_the_tokens_of_the_answer(look: Run) -> None:
    report = look(job("sure", [RED_CIRCLE, COLOR], top_logprobs=2))

    logprobs = [one for _, delta in report.of("sure") if isinstance(delta, Delta) for one in delta.logprobs]
    assert "".join(one.token for one in logprobs) == "red"
    assert all(one.top[0].token == one.token and len(one.top) == 2 for one in logprobs)
    assert all(-0.7 < one.logprob <= 0 for one in logprobs)


def test_a_seed_decides_the_text(look: Run) -> None:
    def asked(name: str, seed: int) -> Job:
        return job(name, [CARD, "Describe the image."], sampling=Sampling(temperature=2, seed=seed))

    report = look(asked("a", 5), asked("b", 5), asked("c", 6))

    assert report.text("a") == report.text("b")
    assert report.text("a") != report.text("c")


def test_the_same_picture_is_read_once(look: Run) -> None:
    """Of the second prompt only the last token is computed; a picture of the same size matches nothing."""
    first = job("first", [pictures.shapes(("purple", "circle")), COLOR])
    again = job("again", [pictures.shapes(("purple", "circle")), COLOR])
    other = job("other", [pictures.shapes(("orange", "circle")), COLOR])
    before = look(first)

    report = look(again, other)

    assert (before.text("first"), report.text("again"), report.text("other")) == (
        "purple",
        "purple",
        "orange",
    )
    usage = report.done("again").usage
    assert usage.cached_tokens == usage.prompt_tokens - 1
    # The words before the picture are the same.
    assert report.done("other").usage.cached_tokens < usage.prompt_tokens - 36


def test_another_question_about_a_picture_reads_only_itself(look: Run) -> None:
    card = pictures.scorecard(("Budget", "31", "red"), ("Risk", "5", "green"))
    look(job("first", [card, "Which row is red?"]))

    report = look(job("second", [card, "Which row is green?"]))

    assert report.text("second") == "Risk"
    usage = report.done("second").usage
    assert usage.prompt_tokens - usage.cached_tokens < 16


def test_pictures_are_seen_once_without_a_prompt_cache(look: Run) -> None:
    """Steps: one to look at a new picture and one to read; then only to read."""
    settings = {"prompt_cache_bytes": 0}
    asked = job("asked", [pictures.shapes(("black", "square")), COLOR], max_tokens=1)

    first, second = look(asked, settings=settings), look(asked, settings=settings)

    assert (first.text("asked"), second.text("asked")) == ("black", "black")
    assert second.done("asked").usage.cached_tokens == 0
    assert len(second.progress) == len(first.progress) - 1


def test_running_rows_get_a_token_at_each_step_beside_pictures(look: Run) -> None:
    """One step does one picture or one chunk of a prompt."""
    new = [pictures.plain(color) for color in ("red", "gray", "yellow", "purple")]
    report = look(
        job("runs", [COUNT], max_tokens=110),
        job("joins", [*new, "Describe the images."], add_at=6),
        settings={"prefill_step_tokens": 64},
    )

    began = next(step for step, one in report.of("joins") if isinstance(one, Delta))
    said = {step for step, one in report.of("runs") if isinstance(one, Delta)}
    reports = [one for _, one in report.of("joins") if isinstance(one, Prefill)]
    assert set(range(7, began)) <= said
    assert began > 6 + len(new) + 2
    assert [one.num_done for one in reports] == sorted(one.num_done for one in reports)
    assert reports[-1].num_done == reports[-1].num_total


def test_a_row_that_fails_takes_nobody_with_it(look: Run) -> None:
    """The others are read again, pictures and all, and go on where they were."""
    jobs = [
        job("circle", [RED_CIRCLE, "Describe the image."]),
        job("both", [RED_CIRCLE, BLUE_SQUARE, "Describe the images."]),
    ]
    alone = [look(one).text(one.id) for one in jobs]
    broken = job("broken", [COUNT], sampling=Sampling(temperature=1, seed=666))

    report = look(*jobs, broken, broken_seed=666, broken_from=3)

    assert alone == [report.text(one.id) for one in jobs]
    assert report.error("broken").code == "worker_error"


def test_pixels_that_are_not_all_there_end_one_request(look: Run) -> None:
    """Whatever goes wrong while a picture is looked at."""
    cut = job("cut", [pictures.plain("gray"), COLOR])

    report = look(
        msgspec.structs.replace(cut, buffers=(b"short",)),
        job("stays", [COUNT], max_tokens=120),
        job("sees", [pictures.plain("green"), "What color is this?"]),
    )

    assert report.error("cut").code == "worker_error"
    assert report.text("stays") == COUNTED
    assert report.text("sees") == "green"
