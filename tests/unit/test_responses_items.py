"""Items of a conversation become turns: what a model said in one go is one turn."""

from __future__ import annotations

import json

import msgspec
import pytest

from plugins.responses.conversation import MAX_ITEMS, read_conversation, referred_ids
from plugins.responses.items import Placed, read_items
from plugins.responses.paging import Page, page_of, read_page
from plugins.responses.requests import Item, ResponseBody
from plugins.responses.store import Kept
from plugins.responses.thoughts import thought_of
from plugins.turns import Turn
from plugins.wrapped_thoughts import wrapped
from transports.errors import RequestError
from transports.tools import ToolCall

USER = {"role": "user", "content": "hi"}
THOUGHT = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
CALL = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "4"}]}


def said(text: str) -> dict[str, object]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def turns(*items: object, instructions: str | None = None) -> list[tuple[str, str, str, int]]:
    """Role, words, thought and number of calls of each turn."""
    read = msgspec.convert(items, list[Item])
    found = read_items(instructions, [Placed(item, f"input[{i}]") for i, item in enumerate(read)])
    return [(t.role, "".join(map(str, t.parts)), t.reasoning, len(t.tool_calls)) for t in found]


def test_thought_words_and_calls_are_one_turn() -> None:
    assert [
        ("user", "hi", "", 0),
        ("assistant", "Look", "Hm.", 2),
        ("tool", "4", "", 0),
        ("assistant", "Yes", "Hm.\nHm.", 0),
    ] == turns(
        USER, THOUGHT, said("Look"), CALL, {**CALL, "call_id": "2"}, RESULT, THOUGHT, THOUGHT, said("Yes")
    )


def test_another_message_of_the_assistant_is_another_turn_unless_it_has_called() -> None:
    assert [("assistant", "A", "", 0), ("assistant", "B", "", 0)] == turns(said("A"), said("B"))
    assert [("assistant", "AB", "", 1)] == turns(said("A"), CALL, said("B"))
    assert [("assistant", "A", "", 0), ("assistant", "B", "Hm.", 0)] == turns(said("A"), THOUGHT, said("B"))
    assert [("assistant", "A", "Hm.", 1)] == turns(said("A"), THOUGHT, CALL)


def test_instructions_and_what_follows_them_are_one_turn() -> None:
    developer = {"role": "developer", "content": "B"}

    assert [("system", "A\n\nB\n\nB", "", 0), ("user", "hi", "", 0), ("developer", "B", "", 0)] == turns(
        developer, developer, USER, developer, instructions="A"
    )
    assert [("system", "B", "", 0)] == turns(developer)


def test_a_call_that_was_cut_short_is_none() -> None:
    assert [("assistant", "A", "", 0)] == turns({**CALL, "status": "incomplete"}, said("A"))


def test_calls_have_their_ids_and_results_theirs() -> None:
    items = msgspec.convert([CALL, RESULT], list[Item])
    call, result = read_items(None, [Placed(item, "x") for item in items])

    assert (ToolCall(id="1", name="f", arguments="{}"),) == call.tool_calls
    assert Turn(role="tool", parts=["4"], tool_call_id="1") == result


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([{**CALL, "call_id": str(i)} for i in range(129)], "input[128]"),
        ([USER] * 4097, "input"),
        ([{**THOUGHT, "content": "x" * (5 << 20)}, {"role": "user", "content": "x" * (4 << 20)}], "input"),
        ([THOUGHT, {"type": "custom_tool_call"}], "input[1].type"),
    ],
    ids=["calls", "turns", "text", "type"],
)
def test_too_much_and_the_unknown_are_refused(items: list[object], param: str) -> None:
    with pytest.raises(RequestError) as refused:
        turns(*items)

    assert param == refused.value.param


def test_a_thought_is_found_wherever_it_is() -> None:
    summary = [{"type": "summary_text", "text": "Hm."}]
    for fields, thought in (
        ({"content": THOUGHT["content"]}, "Hm."),
        ({"summary": summary}, "Hm."),
        ({"summary": [], "encrypted_content": wrapped("Hé.")}, "Hé."),
        ({"encrypted_content": "gAAAAABm"}, ""),
        ({"encrypted_content": "mlxd.\u00e9"}, ""),
        ({"encrypted_content": "mlxd./w=="}, ""),
    ):
        assert thought == thought_of(msgspec.convert({"type": "reasoning", **fields}, Item))


def test_what_is_kept_is_read_again_as_it_was() -> None:
    body = msgspec.convert({"model": "m", "input": [USER, THOUGHT, CALL, RESULT]}, ResponseBody)
    first = read_conversation(body, [], {})
    kept = Kept(
        id="r",
        previous_id=None,
        input=first.added,
        response=json.dumps({"output": [said("A")]}).encode(),
        item_ids=first.added_ids,
    )
    more = msgspec.convert({"model": "m", "input": [{"id": first.added_ids[1]}, USER]}, ResponseBody)
    second = read_conversation(more, [kept], dict.fromkeys(referred_ids(more), kept))

    assert 4 == len(set(first.added_ids))
    assert first.turns == second.turns[:3]
    assert (["A"], "Hm.") == (second.turns[3].parts, second.turns[3].reasoning)
    assert (first.added_ids[1], 2) == (second.added_ids[0], len(second.added_ids))


def test_more_than_a_conversation_may_have_is_not_read() -> None:
    body = msgspec.convert({"model": "m", "input": "hi"}, ResponseBody)
    kept = Kept(id="r", previous_id=None, input=b"", response=b"", item_ids=("x",) * (MAX_ITEMS + 1))

    with pytest.raises(RequestError, match="previous_response_id"):
        read_conversation(body, [kept], {})


def test_pages_of_items() -> None:
    items = json.dumps([{"id": str(i)} for i in range(5)]).encode()

    def page(query: dict[str, str]) -> tuple[str, str, str, bool]:
        found = json.loads(page_of(items, read_page(query)))
        assert "list" == found["object"]
        ids = "".join(one["id"] for one in found["data"])
        return ids, found["first_id"], found["last_id"], found["has_more"]

    assert Page(20, is_ascending=False, after="") == read_page({})
    assert ("43210", "4", "0", False) == page({})
    assert ("01", "0", "1", True) == page({"limit": "2", "order": "asc"})
    assert ("10", "1", "0", False) == page({"limit": "2", "after": "2"})
    for query in ({"limit": "0"}, {"limit": "101"}, {"limit": "²"}, {"order": "up"}, {"after": "x"}):
        with pytest.raises(RequestError):
            page(query)
