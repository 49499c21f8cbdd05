"""`mlxd run` with pictures and documents, with an echo worker that says their size and colours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_harness import EYES, Terminal, mlxd, processes_of, serving_echoes
from pictures import data_url, pdf, plain, png

from transports import rundir

RED, BLUE = "64x48:dc143c-dc143c", "32x32:1e50dc-1e50dc"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An MLXD_HOME whose kernel runs, for all tests here."""
    with serving_echoes(tmp_path_factory.mktemp("served")) as home:
        yield home


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with pictures."""
    (tmp_path / "red.png").write_bytes(png(plain("red", (64, 48))))
    (tmp_path / "blue.png").write_bytes(png(plain("blue", (32, 32))))
    pages = [plain(color, (100, 50)) for color in ("red", "green", "blue")]
    (tmp_path / "three.pdf").write_bytes(pdf(pages))
    (tmp_path / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pictures_go_before_the_prompt_in_their_order(served: Path) -> None:
    done = mlxd(served, "run", EYES, "what?", "--image", "red.png", "--image", "blue.png")

    assert (done.returncode, done.stdout) == (0, f"{RED} {BLUE} what?\n")


def test_pages_of_a_document_are_pictures(served: Path) -> None:
    all_pages = mlxd(served, "run", EYES, "what?", "--pdf", "three.pdf").stdout.split()
    some = mlxd(served, "run", EYES, "what?", "--pdf", "three.pdf", "--pages", "2-3").stdout.split()

    assert len(all_pages) == 4
    assert some == all_pages[1:]


def test_a_data_url_is_a_picture(served: Path) -> None:
    done = mlxd(served, "run", EYES, "what?", "--image", data_url(png(plain("red", (64, 48)))))

    assert done.stdout == f"{RED} what?\n"


def test_without_a_kernel_it_has_its_own_and_leaves_nothing(home: Path) -> None:
    done = mlxd(home, "run", EYES, "what?", "--image", "red.png")

    assert (done.returncode, done.stdout) == (0, f"{RED} what?\n")
    assert processes_of(home) == []
    assert not rundir.locate(home).exists()


def test_models_shows_who_takes_pictures(served: Path) -> None:
    takes = {
        model["name"]: model["modalities"] for model in json.loads(mlxd(served, "models", "--json").stdout)
    }

    assert (takes[EYES], takes["echo/plain"]) == (["text", "image"], ["text"])
    assert re.search("echo/eyes +echo +text, image +", mlxd(served, "models").stdout)


def test_a_picture_for_a_text_model_is_refused_before_it_is_loaded(served: Path) -> None:
    done = mlxd(served, "run", "echo/plain", "what?", "--image", "red.png")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "Error: red.png: echo/plain takes text only; models here that take images: "
    )
    assert EYES in done.stderr
    assert "echo/plain" not in mlxd(served, "ps").stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--image", "notes.txt"), "Error: notes.txt: expected PNG, JPEG"),
        (("--image", "."), "Error: .: not a file"),
        (("--image", "red.png", "--pdf", "three.pdf", "--pages", "4"), "Error: three.pdf: pages: "),
        (("--image", "http://127.0.0.1:9/a.png"), "Error: http://127.0.0.1:9/a.png: "),
    ],
)
def test_a_picture_that_cannot_be_used_is_one_line(served: Path, args: tuple[str, ...], said: str) -> None:
    done = mlxd(served, "run", EYES, "what?", *args)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_a_file_over_the_limit_is_refused(home: Path) -> None:
    done = mlxd(home, "run", EYES, "what?", "--image", "red.png", MLXD_MEDIA_MAX_FILE_BYTES="50")

    assert done.stderr == "Error: red.png: expected at most 50 bytes (media.max_file_bytes)\n"


# --- chat -------------------------------------------------------------------------------------


def open_chat(home: Path, model: str, *args: str) -> Terminal:
    terminal = Terminal(home, "chat", model, *args, MLXD_MEDIA_MAX_IMAGE_SIDE="512")
    terminal.wait_for("Ctrl-D leaves.")
    return terminal


def ask(terminal: Terminal, line: str, answer: str) -> None:
    """At the prompt, type a line and wait for its answer."""
    terminal.wait_for(">>>")
    terminal.press(f"{line}\r")
    terminal.wait_for(f"\r\n{answer}\r\n")


def test_a_conversation_takes_pictures_by_flag_command_and_path(served: Path, folder: Path) -> None:
    (folder / "my picture.png").write_bytes(png(plain("blue", (32, 32))))
    terminal = open_chat(served, EYES, "--image", "red.png")
    terminal.wait_for("red.png: 1 picture (64x48) for the next message.")

    ask(terminal, "what?", f"{RED} what?")
    ask(
        terminal,
        "/image three.pdf",
        "three.pdf: 3 pictures (512x256, 512x256, 512x256) for the next message.",
    )
    ask(terminal, "/clear", "The conversation starts anew.")
    ask(terminal, "no picture", "no picture")
    # As a terminal writes a file that is dropped on it.
    ask(terminal, rf"{folder}/my\ picture.png what?", f"{BLUE} what?")
    ask(terminal, "'my picture.png' ", "my picture.png: 1 picture (32x32) for the next message.")
    ask(terminal, "and now?", f"{BLUE} and now?")
    ask(terminal, "/image gone.png", "Error: gone.png: no such file")
    ask(
        terminal,
        "/image notes.txt",
        "Error: notes.txt: expected PNG, JPEG, WebP, GIF, BMP, HEIC or PDF, got something else",
    )
    terminal.wait_for(">>>")
    terminal.press("\x04")

    assert terminal.end() == 0


def test_a_text_model_is_told_of_files_and_gets_none(served: Path) -> None:
    terminal = open_chat(served, "echo/plain")

    ask(terminal, "see red.png", "see red.png")
    terminal.wait_for(">>>")
    terminal.press("/image red.png\r")
    terminal.wait_for("Error: red.png: echo/plain takes text only")
    terminal.wait_for(">>>")
    terminal.press("\x04")

    assert terminal.end() == 0


def test_a_prompt_comes_from_a_file(served: Path, folder: Path) -> None:
    (folder / "ask.txt").write_text("from a file\n")

    done = mlxd(served, "run", EYES, "and more", "--prompt-file", "ask.txt", stdin="piped\n")

    assert done.stdout == "piped\n\nfrom a file\n\nand more\n"
