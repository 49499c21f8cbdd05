"""`mlxd chat` in a real terminal, with echo workers."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_harness import Terminal, mlxd, processes_of, serving_echoes


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving_echoes(tmp_path_factory.mktemp("served")) as home:
        yield home


@pytest.fixture
def served(shared: Path) -> Path:
    """An MLXD_HOME whose kernel runs, and in which nobody has typed anything."""
    (shared / "chat_history").unlink(missing_ok=True)
    return shared


def open_chat(home: Path, *args: str) -> Terminal:
    terminal = Terminal(home, "chat", *args)
    terminal.wait_for("Ctrl-D leaves.")
    terminal.wait_for(">>>")
    return terminal


def ask(terminal: Terminal, line: str, answer: str) -> None:
    """Type a line, and wait until its answer stands on a line of its own and the next prompt is there."""
    terminal.press(f"{line}\r")
    terminal.wait_for(f"\r\n{answer}\r\n")
    terminal.wait_for(">>>")


def test_a_conversation_ends_with_ctrl_d(served: Path) -> None:
    terminal = open_chat(served, "echo/plain")

    ask(terminal, "hello there", "hello there")
    ask(terminal, "and again", "and again")
    terminal.press("\x04")

    assert terminal.end() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(served: Path) -> None:
    terminal = open_chat(served, "echo/slow")

    terminal.press("one two three four " * 50 + "\r")
    terminal.wait_for("\r\none two three")
    terminal.press("\x03")
    terminal.wait_for(">>>")
    ask(terminal, "still here", "still here")
    terminal.press("/exit\r")

    assert terminal.end() == 0


def test_ctrl_c_at_the_prompt_drops_what_was_typed(served: Path) -> None:
    terminal = open_chat(served, "echo/plain")

    terminal.press("half a li")
    terminal.wait_for("half a li")
    terminal.press("\x03")
    terminal.wait_for(">>>")
    ask(terminal, "whole", "whole")
    terminal.press("\x04")

    assert terminal.end() == 0


def test_commands_change_the_answers(served: Path) -> None:
    terminal = open_chat(served, "echo/plain")

    ask(terminal, "/set max_tokens 2", "max_tokens is 2.")
    ask(terminal, "one two three", "one two")
    ask(terminal, "/set temperature hot", 'Error: temperature: expected a number, 0 to 2, got "hot"')
    terminal.press("/model echo/nope\r")
    terminal.wait_for("Error: ")
    terminal.wait_for(">>>")
    ask(terminal, "/model", "echo/plain")
    terminal.press("/quit\r")

    assert terminal.end() == 0


def test_a_failed_answer_is_told_and_the_conversation_goes_on(served: Path) -> None:
    terminal = open_chat(served, "echo/faulty")

    ask(terminal, "FAIL", "Error: failed as told")
    ask(terminal, "fine", "fine")
    terminal.press("\x04")

    assert terminal.end() == 0


def test_a_message_of_several_lines_is_one_question(served: Path) -> None:
    terminal = open_chat(served, "echo/plain")

    terminal.press("first\x1b\rsecond\r")
    terminal.wait_for("\r\nfirst\r\nsecond\r\n")
    terminal.wait_for(">>>")
    terminal.press("\x04")

    assert terminal.end() == 0


def test_control_sequences_of_an_answer_do_not_reach_the_terminal(served: Path) -> None:
    """What the model says is pasted: typed escapes would be keys."""
    terminal = open_chat(served, "echo/plain")

    terminal.press("\x1b[200~a\x1b]0;evil\x07b\x1b[201~\r")
    terminal.wait_for("\r\nab\r\n")
    terminal.wait_for(">>>")
    terminal.press("\x04")
    terminal.end()

    assert "\x1b]0;evil" not in terminal.shown


def test_thoughts_stand_dim_before_the_answer(served: Path) -> None:
    terminal = open_chat(served, "echo/plain")

    terminal.press("<think>hm hm</think>Yes.\r")
    terminal.wait_for("\r\nhm hm\r\n\r\nYes.\r\n")
    terminal.wait_for(">>>")
    terminal.press("\x04")
    terminal.end()

    assert "\x1b[2mhm" in terminal.shown


def test_what_was_typed_is_kept_for_this_user_alone(served: Path) -> None:
    terminal = open_chat(served, "echo/plain")
    ask(terminal, "remember me", "remember me")
    terminal.press("\x04")
    terminal.end()

    history = served / "chat_history"

    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "+remember me\n" in history.read_text()


def test_an_unknown_model_ends_it_with_one_line(served: Path) -> None:
    terminal = Terminal(served, "chat", "echo/nope")

    assert terminal.end() == 1
    assert "Error: " in terminal.shown
    assert "Traceback" not in terminal.shown


def test_without_a_terminal_it_points_to_run(served: Path) -> None:
    done = mlxd(served, "chat", "echo/plain")

    assert (done.returncode, "chat needs a terminal; `mlxd run`" in done.stderr) == (2, True)


def test_without_a_kernel_it_has_its_own_and_leaves_nothing(home: Path) -> None:
    terminal = open_chat(home, "echo/plain")

    ask(terminal, "alone", "alone")
    terminal.press("\x04")

    assert terminal.end() == 0
    assert processes_of(home) == []
