"""The turns, settings and /commands of `mlxd chat`."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.cli.conversation import CommandError, Conversation
from plugins.media.picture import Picture
from transports.messages import ChatMessage, ImagePart


def talk() -> Conversation:
    conversation = Conversation("demo/a", system="Be kind.")
    conversation.add("Hello", "Hi!")
    return conversation


def test_a_request_holds_instructions_turns_and_question() -> None:
    request = talk().request("How are you?")

    expected = [("system", "Be kind."), ("user", "Hello"), ("assistant", "Hi!"), ("user", "How are you?")]
    assert expected == [(m.role, m.content) for m in request.messages]


def test_a_question_counts_only_once_it_is_added() -> None:
    conversation = Conversation("demo/a")

    conversation.request("Hello")

    assert conversation.turns == []


def test_clear_forgets_turns_and_keeps_instructions() -> None:
    conversation = talk()

    conversation.execute("/clear")

    assert (ChatMessage(role="system", content="Be kind."),) == conversation.request("x").messages[:-1]


def test_system_without_text_removes_the_instructions() -> None:
    conversation = talk()

    conversation.execute("/system")

    assert "system" not in {m.role for m in conversation.request("x").messages}


def test_set_changes_the_sampling_and_unsets_it() -> None:
    conversation = talk()

    conversation.execute("/set temperature 0.2")
    conversation.execute("/set max_tokens 7")
    conversation.execute("/set stop END")

    request = conversation.request("x")
    assert (request.sampling.temperature, request.max_tokens, request.stop) == (0.2, 7, ("END",))
    conversation.execute("/set temperature")
    assert conversation.request("x").sampling.temperature is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/set temperature hot", 'temperature: expected a number, 0 to 2, got "hot"'),
        ("/set temperature nan", 'temperature: expected a number, 0 to 2, got "nan"'),
        ("/set top_k -1", 'top_k: expected an integer, at least 0, got "-1"'),
        ("/set max_tokens null", 'max_tokens: expected an integer, 1 to 2147483647, got "null"'),
        ("/nope", "unknown command /nope; /help lists them"),
        ("/save", "/save needs the name of a file"),
        ("/save /nowhere/x", "/nowhere/x: No such file or directory"),
    ],
)
def test_a_wrong_command_says_what_would_do(line: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        talk().execute(line)

    assert message == str(caught.value)


def test_set_with_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(CommandError, match=r"unknown setting warmth; there are max_tokens, temperature"):
        talk().execute("/set warmth 3")


def test_save_writes_the_turns_without_control_sequences(tmp_path: Path) -> None:
    conversation = talk()
    conversation.add("Red?", "\x1b[31mred\x1b[0m")

    conversation.execute(f"/save {tmp_path / 'talk.md'}")

    text = (tmp_path / "talk.md").read_text()
    assert text.startswith("# demo/a\n\n## system\n\nBe kind.\n\n## user\n\nHello\n")
    assert text.endswith("## assistant\n\nred\n")


def test_save_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "talk.md").write_text("mine")

    with pytest.raises(CommandError, match="File exists"):
        talk().execute(f"/save {tmp_path / 'talk.md'}")


def test_model_changes_the_model_and_keeps_the_turns() -> None:
    conversation = talk()

    conversation.execute("/model demo/b")

    assert conversation.model == "demo/b"
    assert len(conversation.turns) == 2


def picture(name: str) -> Picture:
    return Picture(width=2, height=1, digest=name.encode().ljust(32), pixels=bytes(6))


def images_of(message: ChatMessage) -> list[int]:
    return [part.image for part in message.content if isinstance(part, ImagePart)]


def test_pictures_go_with_the_next_question_and_stay_with_it() -> None:
    conversation = talk()
    conversation.attach([picture("a"), picture("b")])

    first = conversation.request("What?")
    conversation.add("What?", "A dog.")
    conversation.attach([picture("c")])
    second = conversation.request("And now?")

    assert images_of(first.messages[-1]) == [0, 1]
    assert first.messages[-1].text == "What?"
    assert [images_of(message) for message in second.messages[-3:]] == [[0, 1], [], [2]]
    assert [p.digest.strip() for p in conversation.pictures] == [b"a", b"b", b"c"]


def test_pictures_of_a_question_without_an_answer_wait_for_the_next() -> None:
    conversation = talk()
    conversation.attach([picture("a")])
    conversation.request("What?")

    assert images_of(conversation.request("What then?").messages[-1]) == [0]


def test_clear_forgets_pictures() -> None:
    conversation = talk()
    conversation.attach([picture("a")])
    conversation.add("What?", "A dog.")

    conversation.execute("/clear")

    assert conversation.pictures == []
    assert conversation.request("What?").messages[-1].content == "What?"


def test_save_tells_how_many_pictures_there_were(tmp_path: Path) -> None:
    conversation = talk()
    conversation.attach([picture("a")])
    conversation.add("What?", "A dog.")

    conversation.execute(f"/save {tmp_path / 'talk.md'}")

    assert "## user\n\n(1 image)\n\nWhat?\n" in (tmp_path / "talk.md").read_text()


def test_a_dropped_path_is_no_command(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.touch()

    assert not talk().is_command(f"{file} what is it?")
    assert talk().is_command(f"{tmp_path}/gone.png")
    assert talk().is_command(f"/image {file}")
    assert talk().is_command("/help")
    assert not talk().is_command(" /help")


@pytest.mark.parametrize("word", ["/exit", "/quit"])
def test_exit_ends_it(word: str) -> None:
    conversation = talk()

    conversation.execute(word)

    assert conversation.is_over
