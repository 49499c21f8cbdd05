"""When the news of requests leaves a worker: the first text and every end at once, other text seldom."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from transports.codec import decode_body
from transports.envelope import Message
from transports.errors import WorkerError
from transports.frames import Buffer, Parcel, parcel
from transports.messages import (
    Cancel,
    ChatMessage,
    ChatRequest,
    Delta,
    Done,
    Events,
    Failed,
    Item,
    ReasoningDelta,
    TokenLogprob,
    Usage,
    Welcome,
)
from transports.tools import ToolCallBegin, ToolCallDelta, ToolCallEnd
from transports.vectors import Vectors
from workers.engine import EngineInfo, Failure, Numbers, Output
from workers.outbox import MIN_INTERVAL_S
from workers.protocol import Session

USAGE = Usage(prompt_tokens=1, completion_tokens=1)
A, B = "request-a", "request-b"
A_VECTOR = struct.pack("<4f", 1, 2, 3, 4)
# For two vectors a message, each of this size and no larger.
MAX_FRAMES, MAX_FRAME_BYTES = 4, len(A_VECTOR)
SOON, LATE = MIN_INTERVAL_S / 4, 2 * MIN_INTERVAL_S


@dataclass
class ScriptedEngine:
    """Says in each step what it is told."""

    info: EngineInfo = field(
        default_factory=lambda: EngineInfo(num_slots=8, context_length=100, device="none")
    )
    tasks: Mapping[str, type[Message]] = field(default_factory=lambda: {"chat": ChatRequest})
    says: list[Output] = field(default_factory=list)

    def add(self, request_id: str, task: str, body: Message, buffers: Sequence[Buffer]) -> None:
        pass

    def cancel(self, request_id: str) -> list[Output]:
        return [Done(id=request_id, finish_reason="cancelled", usage=USAGE)]

    def step(self) -> list[Output]:
        return self.says

    def has_work(self) -> bool:
        return True

    def progress(self) -> int:
        return 0

    def close(self) -> None:
        pass


class World:
    """A session with a scripted engine and a clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[Parcel] = []
        self._engine = ScriptedEngine()
        welcome = Welcome(
            kernel_version="0",
            heartbeat_s=1,
            dead_after_s=5,
            max_frame_bytes=MAX_FRAME_BYTES,
            max_frames=MAX_FRAMES,
        )
        self.session = Session(self._engine, self.sent.append, welcome, clock=lambda: self.now)

    def submit(self, request_id: str, peer: str = "frontend") -> None:
        body = ChatRequest(messages=(ChatMessage(role="user", content="hi"),))
        self.session.handle(parcel("submit", body, ids=(request_id,), task="chat", peer=peer))

    def step(self, *says: Output, after_s: float = SOON) -> list[Parcel]:
        """One step; what was sent because of it."""
        self.now += after_s
        self._engine.says = list(says)
        before = len(self.sent)
        self.session.step()
        return self.sent[before:]

    def started(self, *request_ids: str) -> World:
        """After these requests have said "1"."""
        for request_id in request_ids:
            self.submit(request_id)
        self.step(*[Delta(id=request_id, text="1") for request_id in request_ids])
        self.sent.clear()
        return self


def items(message: Parcel) -> tuple[Item, ...]:
    return decode_body(message.body, Events).items


def test_the_first_text_leaves_at_once() -> None:
    world = World()
    world.submit(A)

    sent = world.step(Delta(id=A, text="1"))

    assert [(Delta(id=A, text="1"),)] == [items(message) for message in sent]


def test_a_prompt_that_is_only_counted_ends_at_once_and_never_runs() -> None:
    world = World()
    body = ChatRequest(messages=(ChatMessage(role="user", content="hi"),), count_only=True)

    world.session.handle(parcel("submit", body, ids=(A,), task="chat", peer="frontend"))

    (message,) = world.sent
    (done,) = items(message)
    assert Done(id=A, finish_reason="length", usage=USAGE) == msgspec.structs.replace(done, timings=None)
    assert 0 == world.session.num_active


def test_text_that_comes_fast_leaves_as_one_delta() -> None:
    world = World().started(A)

    early = [world.step(Delta(id=A, text=text)) for text in ("2", "3")]
    (message,) = world.step(Delta(id=A, text="4"), after_s=LATE)

    assert [[], []] == early
    assert (Delta(id=A, text="234"),) == items(message)


def test_logprobs_of_tokens_that_leave_together_stay_apart() -> None:
    world = World().started(A)
    first, second = TokenLogprob(token="2", logprob=-1.0), TokenLogprob(token="3", logprob=-2.0)

    world.step(Delta(id=A, text="2", logprobs=(first,)))
    (message,) = world.step(Delta(id=A, text="3", logprobs=(second,)), after_s=LATE)

    assert (Delta(id=A, text="23", logprobs=(first, second)),) == items(message)


def test_thoughts_and_arguments_that_come_fast_leave_as_one_each() -> None:
    world = World().started(A)

    world.step(ReasoningDelta(id=A, text="so"))
    world.step(ReasoningDelta(id=A, text=" be it"), ToolCallBegin(id=A, index=0, call_id="c", name="f"))
    world.step(ToolCallDelta(id=A, index=0, arguments='{"a"'))
    (message,) = world.step(
        ToolCallDelta(id=A, index=0, arguments=":1}"), ToolCallEnd(id=A, index=0), after_s=LATE
    )

    thought, begin, arguments, end = items(message)
    assert ReasoningDelta(id=A, text="so be it") == thought
    assert ToolCallDelta(id=A, index=0, arguments='{"a":1}') == arguments
    assert isinstance(begin, ToolCallBegin)
    assert isinstance(end, ToolCallEnd)


def test_the_first_thought_leaves_at_once() -> None:
    world = World()
    world.submit(A)

    sent = world.step(ReasoningDelta(id=A, text="so"))

    assert 1 == len(sent)


def test_slow_steps_send_each_token() -> None:
    world = World().started(A)

    sent = [world.step(Delta(id=A, text=text), after_s=LATE) for text in "23"]

    assert [1, 1] == [len(messages) for messages in sent]


def test_an_end_leaves_at_once_with_the_text_before_it() -> None:
    world = World().started(A)

    world.step(Delta(id=A, text="2"))
    (message,) = world.step(Delta(id=A, text="3"), Done(id=A, finish_reason="stop", usage=USAGE))

    assert (A,) == message.envelope.finished
    text, end = items(message)
    assert Delta(id=A, text="23") == text
    assert isinstance(end, Done)


def test_a_failure_leaves_at_once_after_the_text_before_it() -> None:
    world = World().started(A)

    world.step(Delta(id=A, text="2"))
    sent = world.step(Failure(id=A, error=WorkerError("no")))

    assert ["events", "failed"] == [message.envelope.type for message in sent]


def test_text_does_not_wait_for_a_step_that_reads_a_new_prompt() -> None:
    world = World().started(A)
    world.step(Delta(id=A, text="2"))

    world.submit(B)
    held = [items(message) for message in world.sent]
    beside = world.step(Delta(id=A, text="3"))

    assert [(Delta(id=A, text="2"),)] == held
    assert [(Delta(id=A, text="3"),)] == [items(message) for message in beside]


def test_cancel_sends_what_waits() -> None:
    world = World().started(A)
    world.step(Delta(id=A, text="2"))

    world.session.handle(parcel("cancel", Cancel(), ids=(A,)))

    (message,) = world.sent
    assert ["2", "cancelled"] == [getattr(i, "text", getattr(i, "finish_reason", "")) for i in items(message)]


def test_each_frontend_gets_its_own() -> None:
    world = World()
    world.submit(A, peer="one")
    world.submit(B, peer="two")

    sent = world.step(Delta(id=A, text="a"), Delta(id=B, text="b"))

    assert {"one": ((A,)), "two": ((B,))} == {m.envelope.peer: m.envelope.ids for m in sent}


def test_a_request_without_text_that_ended_holds_nobody_up() -> None:
    world = World().started(A)
    world.submit(B)
    world.step(Done(id=B, finish_reason="stop", usage=USAGE))

    sent = world.step(Delta(id=A, text="2"))

    assert [] == sent


def numbers(request_id: str, values: bytes = A_VECTOR) -> Numbers:
    return Numbers(
        id=request_id, values=memoryview(values), num_rows=1, row_size=len(values) // 4, usage=USAGE
    )


def test_numbers_leave_as_a_frame_with_their_end() -> None:
    world = World()
    world.submit(A)

    (message,) = world.step(numbers(A))

    vectors, end = items(message)
    assert Vectors(id=A, buffer=0, num_rows=1, row_size=4) == vectors
    assert isinstance(end, Done)
    assert [A_VECTOR] == [bytes(buffer) for buffer in message.buffers]
    assert (A,) == message.envelope.finished


def test_numbers_of_several_requests_share_a_message_as_far_as_frames_go() -> None:
    world = World()
    ids = [f"request-{n}" for n in range(3)]
    for request_id in ids:
        world.submit(request_id)

    sent = world.step(*[numbers(request_id) for request_id in ids])

    assert [2, 1] == [len(message.buffers) for message in sent]
    assert [tuple(ids[:2]), tuple(ids[2:])] == [message.envelope.finished for message in sent]
    assert [[0, 1], [0]] == [[i.buffer for i in items(m) if isinstance(i, Vectors)] for m in sent]


def test_numbers_that_no_frame_may_hold_are_refused() -> None:
    """The kernel would close the connection, and with it end all other requests."""
    world = World()
    world.submit(A)

    (message,) = world.step(numbers(A, A_VECTOR * 2))

    assert "request_too_large" == decode_body(message.body, Failed).code
