"""Flags of `mlxd run` that do not go together, or name what is not there: told before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from plugins.cli import session
from plugins.cli.commands import cli


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a file; nothing may be started."""

    def never(main: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(session, "run", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "red.png").touch()
    (tmp_path / "latin1.txt").write_bytes(b"gr\xfc\xdfe")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--image", "gone.png"), "'--image': gone.png: no such file"),
        (("--image", "~nobody-of-that-name/a.png"), "no such file"),
        (("--pdf", "gone.pdf"), "'--pdf': gone.pdf: no such file"),
        (("--pages", "two"), '\'--pages\': expected a page or a range, such as "2" or "1-3", got "two"'),
        (("--prompt-file", "gone.txt"), "'gone.txt' does not exist"),
        (("--prompt-file", "latin1.txt"), "latin1.txt is not UTF-8 text (byte 2)"),
        (("--out", "results.jsonl"), "--out is for the results of --each"),
        (("--each", "*.png"), "--each takes --out and --pages, and no"),
        (("--each", "*.png", "--out", "o", "--image", "red.png"), "--each takes --out and --pages, and no"),
        (("--each", "*.png", "--out", "o", "--json"), "--each takes --out and --pages, and no"),
        (("--each", "*.gif", "--out", "o"), "--each: no file matches *.gif"),
        (("--priority", "urgent"), "'--priority': 'urgent' is not one of 'high', 'normal', 'low'"),
        (("--queue-timeout", "0"), "'--queue-timeout': expected seconds, above 0 and up to 86400, got '0'"),
        (("--each", "*.png", "--out", "o", "--concurrency", "0"), "'--concurrency': 0 is not in the range"),
    ],
)
def test_wrong_usage_is_told(folder: Path, args: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(cli, ["run", "echo/eyes", "what?", *args])

    assert (done.exit_code, said in done.output) == (2, True), done.output
    assert not (folder / "o").exists()


def test_stdin_is_no_prompt_of_a_batch() -> None:
    done = CliRunner().invoke(cli, ["run", "echo/eyes", "--each", "*.png", "--out", "o"], input="prompt")

    assert (done.exit_code, "no prompt" in done.output) == (2, True)
