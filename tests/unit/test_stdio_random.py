"""Random conversations: each request has exactly one answer, whatever is cancelled, ends or fails when."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from test_stdio_connection import MAX_REQUESTS, Editor, notification, request, turn

from transports.errors import QueueFull

STEPS = st.one_of(
    st.tuples(st.sampled_from(["ask", "cancel", "finish", "fail"]), st.integers(0, 7)),
    st.tuples(st.sampled_from(["batch"]), st.lists(st.integers(0, 7), max_size=4)),
    st.tuples(st.sampled_from(["turn", "nonsense", "response"]), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_every_request_has_exactly_one_answer(steps: list[tuple[str, object]]) -> None:
    asyncio.run(converse(steps))


async def converse(steps: list[tuple[str, object]]) -> None:
    editor = Editor()
    asked: Counter[object] = Counter()
    answers = editor.personality.answers
    for step, what in steps:
        match step, what:
            case "ask", int(id_):
                asked[id_] += 1
                editor.says(request(id_, f"m{id_}"))
            case "batch", list(ids):
                asked.update(ids)
                asked[None] += not ids
                editor.says([request(id_, f"m{id_}") for id_ in ids])
            case "cancel", int(id_):
                editor.says(notification("$/cancelRequest", id=id_))
            case "finish", int(id_) if (answer := answers.get(f"m{id_}")) and not answer.done():
                answer.set_result(id_)
            case "fail", int(id_) if (answer := answers.get(f"m{id_}")) and not answer.done():
                answer.set_exception(QueueFull("full"))
            case "nonsense", _:
                asked[None] += 1
                editor.connection.receive(b"nonsense")
            case "response", _:
                editor.says({"jsonrpc": "2.0", "id": "nobody's", "result": 1})
            case "turn", _:
                await turn()
        running = sum(not answer.done() for answer in answers.values())
        assert running <= MAX_REQUESTS
    await editor.connection.close()

    told = [message for said in editor.told for message in (said if isinstance(said, list) else [said])]
    assert asked == Counter(message["id"] for message in told)
    assert all(("result" in message) != ("error" in message) for message in told)
    assert msgspec.json.encode(told)
