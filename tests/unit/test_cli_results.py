"""The file of results of a batch: what it keeps, mends and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugins.cli.results import Result, ResultFailure, Results, ResultsError
from transports.messages import Usage

MODEL, REQUEST = "demo/eyes", "r" * 64
ANSWERED = Result(
    file="inbox/a.png",
    digest="d" * 64,
    model=MODEL,
    request=REQUEST,
    seconds=1.5,
    answer="red\n\x1b[31m\u00e4",
    finish_reason="stop",
    usage=Usage(prompt_tokens=7, completion_tokens=2),
)
FAILED = Result(
    file="inbox/b.png",
    digest="e" * 64,
    model=MODEL,
    request=REQUEST,
    seconds=0.1,
    error=ResultFailure(code="invalid_image", message="inbox/b.png: truncated"),
)


def opened(path: Path, model: str = MODEL, request: str = REQUEST) -> Results:
    return Results(path, model, request)


def write(path: Path, *results: Result) -> bytes:
    with opened(path) as file:
        for result in results:
            file.append(result)
    return path.read_bytes()


def test_a_line_is_a_json_object_without_what_is_not_there(tmp_path: Path) -> None:
    lines = write(tmp_path / "out.jsonl", ANSWERED, FAILED).decode("ascii").splitlines()

    assert json.loads(lines[0]) == {
        "file": "inbox/a.png",
        "digest": "d" * 64,
        "model": MODEL,
        "request": REQUEST,
        "seconds": 1.5,
        "answer": "red\n\x1b[31m\u00e4",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "cached_tokens": 0, "reasoning_tokens": 0},
    }
    assert json.loads(lines[1])["error"] == {"code": "invalid_image", "message": "inbox/b.png: truncated"}
    assert "answer" not in json.loads(lines[1])


def test_answered_files_are_known_again_by_name_and_content(tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl", ANSWERED, FAILED)

    with opened(tmp_path / "out.jsonl") as file:
        assert file.is_answered("inbox/a.png", "d" * 64)
        assert not file.is_answered("inbox/a.png", "f" * 64)
        assert not file.is_answered("inbox/c.png", "d" * 64)


def test_what_failed_is_not_answered(tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl", FAILED)

    with opened(tmp_path / "out.jsonl") as file:
        assert not file.is_answered("inbox/b.png", "e" * 64)


@pytest.mark.parametrize("left", range(1, 40, 7))
def test_a_torn_last_line_is_removed_and_written_anew(tmp_path: Path, left: int) -> None:
    path = tmp_path / "out.jsonl"
    first = write(path, FAILED)
    whole = write(path, ANSWERED)
    path.write_bytes(whole[: len(first) + left])

    assert write(path) == first
    assert write(path, ANSWERED) == whole


def test_a_whole_line_that_lost_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    whole = write(path, ANSWERED)
    path.write_bytes(whole[:-1])

    with opened(path) as file:
        assert file.is_answered("inbox/a.png", "d" * 64)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content", [b"my notes", b"my notes\n", b"{}\n", b"\n", b"\x89PNG\r\n\x1a\n", b'{"other": 1}']
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)

    with pytest.raises(ResultsError, match="is no result of mlxd"), opened(path):
        pass
    assert path.read_bytes() == content


@pytest.mark.parametrize(("model", "request_"), [("demo/other", REQUEST), (MODEL, "s" * 64)])
def test_answers_to_another_question_are_not_mixed_in(tmp_path: Path, model: str, request_: str) -> None:
    path = tmp_path / "out.jsonl"
    before = write(path, ANSWERED)

    with pytest.raises(ResultsError, match="line 1 answers another prompt"), opened(path, model, request_):
        pass
    assert path.read_bytes() == before


def test_two_batches_do_not_write_one_file(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "out.jsonl"),
        pytest.raises(ResultsError, match="another batch"),
        opened(tmp_path / "out.jsonl"),
    ):
        pass


def test_a_device_is_no_results_file() -> None:
    with pytest.raises(ResultsError, match="not a file"), opened(Path("/dev/null")):
        pass
