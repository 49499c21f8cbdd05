"""Anthropic's conversations as turns: system, merged turns, calls, results, pictures, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from plugins.anthropic.content import MAX_TURNS, read_turns
from plugins.anthropic.requests import CountBody
from plugins.media.picture import Source
from plugins.turns import Turn
from transports.errors import RequestError
from transports.tools import ToolCall

PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}
USER = {"role": "user", "content": "hi"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "é"}}


def read(*messages: dict[str, Any], system: object = None) -> list[Turn]:
    body = {"model": "m", "messages": messages, "system": system}
    typed = msgspec.json.decode(msgspec.json.encode(body), type=CountBody)
    return read_turns(typed.system, typed.messages)


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}


def said(turn: Turn) -> str:
    return "".join(part for part in turn.parts if isinstance(part, str))


def test_blocks_of_text_are_lines_and_turns_of_one_role_are_one() -> None:
    turns = read(user(text("a"), text("b")), {"role": "user", "content": "c"}, assistant(text("d")), USER)

    assert [("user", "a\nb\nc"), ("assistant", "d"), ("user", "hi")] == [(t.role, said(t)) for t in turns]


@pytest.mark.parametrize("system", ["Be brief.", [text("Be"), text("brief.")]])
def test_the_system_prompt_is_the_first_turn(system: object) -> None:
    turns = read(USER, system=system)

    assert ["system", "user"] == [turn.role for turn in turns]
    assert "Be brief." == said(turns[0]).replace("\n", " ")


def test_what_changes_with_each_request_of_claude_code_does_not_reach_the_prompt() -> None:
    turns = read(USER, system=[text("x-anthropic-billing-header: cc_version=2; cch=1a2b3;"), text("You are")])

    assert "You are" == said(turns[0])


def test_a_system_turn_at_the_beginning_joins_the_system_prompt_and_a_later_one_the_user() -> None:
    late = {"role": "system", "content": "Stop."}
    turns = read({"role": "system", "content": "B"}, USER, late, system="A")

    assert [("system", "A\nB"), ("user", "hi\n<system>\nStop.\n</system>")] == [
        (t.role, said(t)) for t in turns
    ]


def test_thoughts_and_calls_of_a_turn_and_the_results_before_what_the_user_says() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    hidden = {"type": "redacted_thinking", "data": "…"}
    result = {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": [text("4"), {"type": "image", "source": PNG}],
    }
    failed = {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no", "is_error": True}
    turns = read(USER, assistant(thought, hidden, text("Look."), CALL), user(text("go on"), result, failed))

    _, called, first, second, last = turns
    assert ("Hm.", "Look.") == (called.reasoning, said(called))
    assert (ToolCall(id="toolu_1", name="look", arguments='{"at":"é"}'),) == called.tool_calls
    assert ("tool", "toolu_1", "4") == (first.role, first.tool_call_id, said(first))
    assert ["messages[2].content[1].content[1].source.data"] == [source.path for source in first.sources]
    assert ("tool", "Error:\nno") == (second.role, said(second))
    assert ("user", "go on") == (last.role, said(last))


def test_pictures_and_documents_become_sources_where_they_stand() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    turns = read(
        user(
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
            text("and"),
            {"type": "document", "source": pdf, "title": "T", "context": "C"},
        )
    )

    (turn,) = turns
    assert [True, False, False, False, False, False, True] == [
        isinstance(part, Source) for part in turn.parts
    ]
    assert "and\nT\nC" == said(turn)
    assert "https://a.example/b.png" == turn.sources[0].content


def test_documents_of_text_and_search_results_are_words() -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "plain"}
    made = {"type": "content", "content": [text("made"), {"type": "image", "source": PNG}]}
    found = {"type": "search_result", "source": "https://a.example", "title": "A", "content": [text("found")]}
    documents = [{"type": "document", "source": source} for source in (plain, made)]
    (turn,) = read(user(*documents, found))

    assert "plain\nmade" + "A\nhttps://a.example\nfound" == said(turn)
    assert 1 == len(turn.sources)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (user({"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}}), "[0].type"),
        (user(CALL), "[0].type"),
        (user({"type": "text"}), "[0].text"),
        (user({"type": "image"}), "[0].source"),
        (user({"type": "image", "source": "x"}), "[0].source"),
        (user({"type": "image", "source": {"type": "base64"}}), "[0].source.data"),
        (user({"type": "image", "source": {"type": "base64", "data": 5}}), "[0].source.data"),
        (user({"type": "image", "source": {"type": "url"}}), "[0].source.url"),
        (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), "[0].source.type"),
        (user({"type": "image", "source": {"type": "text", "data": "f"}}), "[0].source.type"),
        (user({"type": "document", "source": {"type": "text"}}), "[0].source.data"),
        (
            user({"type": "document", "source": {"type": "content", "content": [CALL]}}),
            "[0].source.content[0].type",
        ),
        (
            user(
                {"type": "document", "source": {"type": "text", "data": "a"}, "citations": {"enabled": True}}
            ),
            "[0].citations",
        ),
        (user({"type": "search_result", "title": "a", "content": []}), "[0].source"),
        (
            user({"type": "search_result", "source": "s", "title": "a", "citations": {"enabled": True}}),
            "[0].citations",
        ),
        (user({"type": "tool_result", "content": "a"}), "[0].tool_use_id"),
        (user({"type": "tool_result", "tool_use_id": "a", "content": text("b")}), "[0].content"),
        (user({"type": "tool_result", "tool_use_id": "a", "content": [CALL]}), "[0].content[0].type"),
        (assistant({"type": "image", "source": PNG}), "[0].type"),
        (assistant({**CALL, "input": [1]}), "[0].input"),
        (assistant({**CALL, "id": None}), "[0].id"),
        ({"role": "system", "content": [CALL]}, "[0].type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_block_is_refused_by_its_place(message: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as refused:
        read(message)

    assert f"messages[0].content{param}" == refused.value.param
    assert refused.value.message.startswith(f"messages[0].content{param}: ")


def test_a_system_prompt_is_words() -> None:
    with pytest.raises(RequestError, match=r"system\[0\]\.type: expected text"):
        read(USER, system=[{"type": "image", "source": PNG}])


@pytest.mark.parametrize("content", ["", [], [text("")]])
def test_a_conversation_says_something(content: object) -> None:
    with pytest.raises(RequestError, match="messages: expected 1 to 4096 turns"):
        read({"role": "system", "content": content}, system=[text("x-anthropic-billing-header: 1")])


def test_more_results_than_a_worker_takes_are_refused() -> None:
    """Each of them is a turn of its own to the worker."""
    result = {"type": "tool_result", "tool_use_id": "a"}
    many = [user(*([result] * 1000)), assistant(text("a"))] * (MAX_TURNS // 1000 + 1)
    with pytest.raises(RequestError, match=f"1 to {MAX_TURNS} turns"):
        read(*many)
