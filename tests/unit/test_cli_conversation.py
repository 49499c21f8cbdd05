"""The turns, settings and /commands of `mlxd chat`."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.cli.conversation import CommandError, Conversation
from transports.messages import ChatMessage


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
        ("/set max_tokens null", 'max_tokens: expected an integer, at least 1, got "null"'),
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


@pytest.mark.parametrize("word", ["/exit", "/quit"])
def test_exit_ends_it(word: str) -> None:
    conversation = talk()

    conversation.execute(word)

    assert conversation.is_over
