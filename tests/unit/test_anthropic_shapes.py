"""Anthropic's answers: blocks in their order, events in theirs, and why an answer ended."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from plugins.anthropic.blocks import BlockReader
from plugins.anthropic.content import read_turns
from plugins.anthropic.requests import MessageTurn
from plugins.anthropic.shapes import MessageShape
from plugins.submission import Update
from transports.messages import Delta, Done, ReasoningDelta, Usage
from transports.tools import ToolCallBegin, ToolCallDelta, ToolCallEnd

USAGE = Usage(prompt_tokens=7, completion_tokens=4, cached_tokens=3, reasoning_tokens=1)


def call(index: int, *arguments: str, is_broken: bool = False) -> list[Update]:
    return [
        ToolCallBegin(id="r", index=index, call_id=f"call{index}", name="look"),
        *(ToolCallDelta(id="r", index=index, arguments=part) for part in arguments),
        ToolCallEnd(id="r", index=index, is_broken=is_broken),
    ]


def done(reason: Any = "stop", stop: str | None = None, usage: Usage = USAGE) -> Done:
    return Done(id="r", finish_reason=reason, usage=usage, stop=stop)


ITEMS: list[Update] = [
    ReasoningDelta(id="r", text="Hm"),
    ReasoningDelta(id="r", text="."),
    Delta(id="r", text="Look: "),
    Delta(id="r", text="é\u2028"),
    *call(0, '{"at":', '"é"}'),
    *call(1, "{", is_broken=True),
    Delta(id="r", text="<tool_call>{"),
    *call(2),
]


def events(data: bytes) -> list[dict[str, Any]]:
    """Each event's JSON; its name is its type."""
    found = []
    for one in data.decode().split("\n\n")[:-1]:
        name, payload = one.split("\n")
        parsed = json.loads(payload.removeprefix("data: "))
        assert name == f"event: {parsed['type']}"
        found.append(parsed)
    return found


def streamed(shape: MessageShape, items: Iterable[Update], end: Done) -> list[dict[str, Any]]:
    return events(shape.start(0) + b"".join(map(shape.more, items)) + shape.end(end))


def accumulated(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks that a client makes of events."""
    blocks: list[dict[str, Any]] = []
    for one in found:
        match one["type"]:
            case "content_block_start":
                assert one["index"] == len(blocks)
                blocks.append(dict(one["content_block"]))
            case "content_block_delta":
                (name,) = set(one["delta"]) - {"type"}
                key = "input" if name == "partial_json" else name
                old = blocks[one["index"]][key]
                blocks[one["index"]][key] = (old if isinstance(old, str) else "") + one["delta"][name]
    for block in blocks:
        if isinstance(block.get("input"), str):
            block["input"] = json.loads(block["input"] or "{}")
    return blocks


def shape(max_tokens: int = 100, **fields: Any) -> MessageShape:
    return MessageShape("m", max_tokens, BlockReader(**fields))


def test_whole_and_streamed_are_the_same_blocks_in_the_order_in_which_they_came() -> None:
    end = done("tool_calls")
    whole = json.loads(shape().whole(ITEMS, end))
    found = streamed(shape(), ITEMS, end)

    assert ["thinking", "text", "tool_use", "text", "tool_use"] == [one["type"] for one in whole["content"]]
    assert accumulated(found) == whole["content"]
    assert ("Hm.", "Look: é\u2028") == (whole["content"][0]["thinking"], whole["content"][1]["text"])
    assert {"type": "tool_use", "id": "call0", "name": "look", "input": {"at": "é"}} == whole["content"][2]
    assert {} == whole["content"][4]["input"]
    assert "tool_use" == whole["stop_reason"] == found[-2]["delta"]["stop_reason"]


def test_the_events_come_in_anthropics_order() -> None:
    found = streamed(shape(), [Delta(id="r", text="a"), Delta(id="r", text="b")], done())

    assert [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ] == [one["type"] for one in found]
    assert [] == found[0]["message"]["content"]
    assert found[0]["message"]["stop_reason"] is None


def test_a_thought_ends_with_a_signature() -> None:
    found = streamed(shape(), [ReasoningDelta(id="r", text="a"), Delta(id="r", text="b")], done())

    deltas = [one["delta"]["type"] for one in found if one["type"] == "content_block_delta"]
    assert ["thinking_delta", "signature_delta", "text_delta"] == deltas


def test_thoughts_may_be_told_without_their_text() -> None:
    whole = json.loads(shape(omits_thoughts=True).whole([ReasoningDelta(id="r", text="a")], done()))

    assert ("thinking", "") == (whole["content"][0]["type"], whole["content"][0]["thinking"])


def test_a_thought_without_its_text_is_read_again_from_its_signature() -> None:
    items = [ReasoningDelta(id="r", text="a"), ReasoningDelta(id="r", text="é")]
    answer = json.loads(shape(omits_thoughts=True).whole([*items, Delta(id="r", text="b")], done()))
    (turn,) = read_turns(None, [msgspec.convert({k: answer[k] for k in ("role", "content")}, MessageTurn)])

    assert ("aé", ["b"]) == (turn.reasoning, turn.parts)


def test_an_eager_tool_streams_its_input_and_closes_when_it_breaks_off() -> None:
    """Of another one nothing is told before it is whole."""
    broken = [*call(0, '{"a', is_broken=True), Delta(id="r", text="b")]
    eager = streamed(shape(eager=frozenset({"look"})), broken, done())
    patient = streamed(shape(), broken, done())

    assert ["tool_use", "text"] == [
        one["content_block"]["type"] for one in eager if one["type"] == "content_block_start"
    ]
    assert [0, 1] == [one["index"] for one in eager if one["type"] == "content_block_stop"]
    assert [{"type": "text", "text": "b", "citations": None}] == accumulated(patient)


def test_no_reader_of_lines_breaks_an_event() -> None:
    data = shape().more(Delta(id="r", text="a\u2028b\u2029c\x85d"))

    assert 3 * 3 == len(data.decode().splitlines())


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (done(), ("end_turn", None)),
        (done(stop="END"), ("stop_sequence", "END")),
        (done("tool_calls"), ("tool_use", None)),
        (done("tool_calls", stop="END"), ("tool_use", None)),
        (done("length", usage=Usage(prompt_tokens=7, completion_tokens=100)), ("max_tokens", None)),
        # The context ended before.
        (done("length"), ("model_context_window_exceeded", None)),
    ],
)
def test_why_it_ended(end: Done, expected: tuple[str, str | None]) -> None:
    whole = json.loads(shape().whole([], end))
    last = streamed(shape(), [], end)[-2]["delta"]

    assert expected == (whole["stop_reason"], whole["stop_sequence"])
    assert expected == (last["stop_reason"], last["stop_sequence"])


def test_tokens_found_in_the_prompt_cache_are_told_apart() -> None:
    usage = json.loads(shape().whole([], done()))["usage"]

    assert (4, 3, 0, 4) == tuple(
        usage[f"{name}_tokens"] for name in ("input", "cache_read_input", "cache_creation_input", "output")
    )
    assert {"thinking_tokens": 1} == usage["output_tokens_details"]


def test_to_read_the_prompt_only_says_nothing() -> None:
    one = done("length", usage=Usage(prompt_tokens=7, completion_tokens=1))
    whole = json.loads(shape(0).whole([Delta(id="r", text="a")], one))
    found = streamed(shape(0), [Delta(id="r", text="a")], one)

    assert ([], "max_tokens", 0) == (
        whole["content"],
        whole["stop_reason"],
        whole["usage"]["output_tokens"],
    )
    assert ["message_start", "message_delta", "message_stop"] == [one["type"] for one in found]
