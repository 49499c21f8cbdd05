"""`mlxd run --each`: one question about many files."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_harness import EYES, MLXD, TIMEOUT_S, Terminal, environment, mlxd, processes_of, serving_echoes
from pictures import pdf, plain, png

NUM_GOOD = 6


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An MLXD_HOME whose kernel runs, for all tests here."""
    with serving_echoes(tmp_path_factory.mktemp("served")) as home:
        yield home


@pytest.fixture(autouse=True)
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures, two of them corrupt, in the working folder."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    for number in range(NUM_GOOD):
        (folder / f"{number}.png").write_bytes(png(plain("red", (10 + number, 10))))
    (folder / "cut.png").write_bytes(png(plain("red"))[:100])
    (folder / "text.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return folder


def batch(
    home: Path, *args: str, pattern: str = "inbox/*.png", **more: str
) -> subprocess.CompletedProcess[str]:
    return mlxd(home, "run", EYES, "what?", "--each", pattern, "--out", "out.jsonl", *args, **more)


def results(path: Path = Path("out.jsonl")) -> dict[str, dict[str, Any]]:
    """The last line of each file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["file"]: line for line in lines}


def test_each_file_has_its_answer_and_a_bad_one_its_error(served: Path) -> None:
    done = batch(served)

    found = results()
    assert done.returncode == 1
    assert found["inbox/3.png"]["answer"] == "13x10:dc143c-dc143c what?"
    assert found["inbox/3.png"]["finish_reason"] == "stop"
    assert found["inbox/3.png"]["usage"]["completion_tokens"] == 2
    assert found["inbox/cut.png"]["error"]["code"] == "invalid_image"
    assert found["inbox/text.png"]["error"]["code"] == "unsupported_media_type"
    assert sum("answer" in line for line in found.values()) == NUM_GOOD
    assert f"8 files: {NUM_GOOD} answered, 2 failed. Results: out.jsonl\n" in done.stderr
    assert "inbox/3.png: answered in" in done.stderr
    assert done.stderr.count("inbox/cut.png") == 1


def test_a_text_model_is_refused_before_anything_is_begun(served: Path) -> None:
    done = mlxd(served, "run", "echo/plain", "what?", "--each", "inbox/*.png", "--out", "out.jsonl")

    assert done.returncode == 1
    assert "echo/plain takes text only" in done.stderr
    assert "left" not in done.stderr
    assert not Path("out.jsonl").exists()


def test_a_second_run_asks_again_only_what_failed_or_changed(served: Path, inbox: Path) -> None:
    batch(served)
    before = Path("out.jsonl").read_text()
    (inbox / "cut.png").write_bytes(png(plain("blue", (20, 20))))
    (inbox / "0.png").write_bytes(png(plain("blue", (30, 30))))

    done = batch(served)

    after = Path("out.jsonl").read_text()
    assert after.startswith(before)
    assert after.count("\n") - before.count("\n") == 3
    assert results()["inbox/cut.png"]["answer"].startswith("20x20:")
    assert results()["inbox/0.png"]["answer"].startswith("30x30:")
    assert "8 files: 2 answered, 5 answered before, 1 failed." in done.stderr


def test_with_every_file_answered_nothing_is_started(served: Path, home: Path) -> None:
    first = batch(served, pattern="inbox/[0-9].png")

    second = batch(home, pattern="inbox/[0-9].png")

    assert (first.returncode, second.returncode) == (0, 0)
    assert f"{NUM_GOOD} files: 0 answered, {NUM_GOOD} answered before." in second.stderr
    assert not (home / "logs").exists()


def test_documents_are_asked_about_as_a_whole(served: Path, inbox: Path) -> None:
    (inbox / "two.pdf").write_bytes(pdf([plain("red", (50, 50)), plain("blue", (50, 50))]))

    batch(served, pattern="inbox/*.pdf")
    mlxd(served, "run", EYES, "x", "--each", "inbox", "--pages", "2", "--out", "one.jsonl")

    one = results(Path("one.jsonl"))
    assert len(results()["inbox/two.pdf"]["answer"].split()) == 3
    assert len(one["inbox/two.pdf"]["answer"].split()) == 2
    assert "answer" in one["inbox/0.png"]


def _start(home: Path, *args: str) -> subprocess.Popen[bytes]:
    command = [
        MLXD,
        "run",
        EYES,
        "what is it then?",
        "--each",
        "inbox/[0-9].png",
        "--out",
        "out.jsonl",
        *args,
    ]
    return subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)


def _wait_for_lines(num_lines: int) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not Path("out.jsonl").exists() or Path("out.jsonl").read_bytes().count(b"\n") < num_lines:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def _slow_eyes(home: Path) -> None:
    (home / "models/echo/eyes/config.json").write_text(
        '{"model_type": "echo", "modalities": ["text", "image"], "step_s": 0.1}'
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_batch_that_is_ended_goes_on_where_it_was(home: Path, number: signal.Signals) -> None:
    _slow_eyes(home)
    process = _start(home, "--concurrency", "1")
    _wait_for_lines(2)
    process.send_signal(number)
    _, told = process.communicate(timeout=TIMEOUT_S)
    first = Path("out.jsonl").read_bytes()
    # As if it had been killed in the middle of a line.
    Path("out.jsonl").write_bytes(first + b'{"file": "inbox/4.p')

    done = mlxd(home, "run", EYES, "what is it then?", "--each", "inbox/[0-9].png", "--out", "out.jsonl")

    lines = Path("out.jsonl").read_bytes().splitlines()
    assert done.returncode == 0
    assert Path("out.jsonl").read_bytes().startswith(first)
    assert sorted(json.loads(line)["file"] for line in lines) == [f"inbox/{n}.png" for n in range(NUM_GOOD)]
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert b"left; the same command goes on with them. Results: out.jsonl" in told
        assert b"Traceback" not in told
    assert processes_of(home) == []


def test_several_files_are_asked_about_at_a_time(home: Path) -> None:
    """Six answers of five steps of 0.1 s: 3 s one after another, 0.5 s together."""
    _slow_eyes(home)

    done = batch(home, "--concurrency", "6", pattern="inbox/[0-9].png")

    seconds = [line["seconds"] for line in results().values()]
    assert done.returncode == 0
    assert sum(seconds) > 2 * max(seconds)


def test_a_terminal_shows_a_bar(served: Path) -> None:
    terminal = Terminal(served, "run", EYES, "x", "--each", "inbox/*.png", "--out", "out.jsonl")

    terminal.wait_for("inbox/cut.png: ")
    terminal.wait_for("8 files: 6 answered, 2 failed.")

    assert terminal.end() == 1
    assert "/8 " in terminal.text
    assert "answered in" not in terminal.text
