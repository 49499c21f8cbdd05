"""Deltas go to the writer, waiting and thoughts to views, and an error leaves what came before it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from plugins.cli.answer import Answer, Update
from plugins.cli.progress import ProgressView
from plugins.cli.thoughts import ThoughtView
from transports.errors import WorkerCrashed
from transports.messages import Delta, Done, Prefill, Progress, ReasoningDelta, Usage

ID = "request-1"
DONE = Done(id=ID, finish_reason="stop", usage=Usage(prompt_tokens=1, completion_tokens=2))


async def updates(*items: Update | Exception) -> AsyncIterator[Update]:
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


async def read(*items: Update | Exception, is_raw: bool = False) -> tuple[Answer, list[str]]:
    answer, written = Answer(), list[str]()
    with ProgressView(is_live=False) as view:
        await answer.read(updates(*items), name="m", view=view, write=written.append, is_raw=is_raw)
    return answer, written


async def test_text_is_written_as_it_comes() -> None:
    answer, written = await read(Delta(id=ID, text="Par"), Delta(id=ID, text="is"), DONE)

    assert (written, answer.text, answer.done) == (["Par", "is"], "Paris", DONE)


async def test_a_sequence_split_over_deltas_is_stripped_from_the_screen_only() -> None:
    pieces = ["a\x1b", "]52;c;eA=", "=\x07b"]

    answer, written = await read(*(Delta(id=ID, text=piece) for piece in pieces), DONE)

    assert "".join(written) == "ab"
    assert "".join(pieces) == answer.text


async def test_raw_leaves_the_text_as_it_is() -> None:
    _, written = await read(Delta(id=ID, text="\x1b[31m"), DONE, is_raw=True)

    assert written == ["\x1b[31m"]


async def test_a_failure_keeps_what_was_said_before() -> None:
    answer = Answer()

    with ProgressView(is_live=False) as view, pytest.raises(WorkerCrashed):
        await answer.read(
            updates(Delta(id=ID, text="half"), WorkerCrashed("gone")),
            name="m",
            view=view,
            write=lambda _: None,
        )

    assert (answer.text, answer.done) == ("half", None)


async def read_thoughts(
    *items: Update | Exception, is_live: bool, capsys: pytest.CaptureFixture[str]
) -> tuple[Answer, str]:
    """The answer, and what stands on stdout when it goes there too."""
    answer = Answer()
    await answer.read(
        updates(*items),
        thoughts=ThoughtView(is_live=is_live),
        write=lambda text: print(text, end=""),
    )
    return answer, capsys.readouterr().out


THOUGHTS = (ReasoningDelta(id=ID, text="Well, [b]so\x1b]0;ev"), ReasoningDelta(id=ID, text="il\x07 much"))


async def test_thoughts_stand_before_the_answer_and_are_none_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer, shown = await read_thoughts(
        *THOUGHTS, Delta(id=ID, text="Yes"), Delta(id=ID, text="."), DONE, is_live=True, capsys=capsys
    )

    assert (shown, answer.text) == ("Well, [b]so much\n\nYes.", "Yes.")


async def test_thoughts_are_dim_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")

    _, shown = await read_thoughts(
        ReasoningDelta(id=ID, text="Hm"), Delta(id=ID, text="Yes"), DONE, is_live=True, capsys=capsys
    )

    assert shown == "\x1b[2mHm\x1b[0m\n\nYes"


async def test_thoughts_are_not_shown_where_stdout_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, shown = await read_thoughts(*THOUGHTS, Delta(id=ID, text="Yes"), DONE, is_live=False, capsys=capsys)

    assert shown == "Yes"
    assert not ThoughtView().is_live


async def test_thoughts_without_an_answer_end_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    _, shown = await read_thoughts(*THOUGHTS, DONE, is_live=True, capsys=capsys)
    view = ThoughtView(is_live=True)
    with pytest.raises(WorkerCrashed):
        await Answer().read(updates(THOUGHTS[0], WorkerCrashed("gone")), thoughts=view)

    assert shown == "Well, [b]so much\n"
    assert capsys.readouterr().out == "Well, [b]so\n"


@pytest.mark.parametrize(("is_live", "num_closed"), [(True, 1), (False, 0)])
async def test_a_thought_that_is_shown_ends_the_progress(is_live: bool, num_closed: int) -> None:
    """Bars would be drawn over it; where it is not shown they say that something goes on."""
    closed = []

    class NotedView(ProgressView):
        def close(self) -> None:
            closed.append(self)
            super().close()

    thoughts = ThoughtView(is_live=is_live)
    await Answer().read(updates(THOUGHTS[0], DONE), view=NotedView(is_live=False), thoughts=thoughts)

    assert len(closed) == num_closed


async def test_waiting_is_told_once_a_phase_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    await read(
        Progress(phase="queued"),
        Progress(phase="download", fraction=0.1, detail="model.gguf"),
        Progress(phase="download", fraction=0.9, detail="model.gguf"),
        Progress(phase="load"),
        Prefill(id=ID, num_done=512, num_total=4096),
        Delta(id=ID, text="x"),
        DONE,
    )

    captured = capsys.readouterr()
    assert captured.err == "m: fetching the model (model.gguf)\nm: loading the model\n"
    assert captured.out == ""


async def test_bars_leave_a_clean_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The live view of a terminal ends with the cursor shown and its lines erased."""
    with ProgressView(is_live=True) as view:
        view.update("m\x1b[31m", Progress(phase="download", fraction=0.5))
        view.update("m\x1b[31m", Progress(phase="load"))
        view.finish("m\x1b[31m")

    assert "\x1b[31m" not in capsys.readouterr().err
