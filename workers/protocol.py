"""The worker's side of the protocol, without sockets: what arrives, what the engine says, what leaves.

Runs on the engine's thread. Knows the Engine contract, no model and no ZeroMQ socket.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from transports.codec import decode_body
from transports.envelope import Message
from transports.errors import (
    MlxdError,
    RemoteProtocolError,
    RequestTooLarge,
    TaskNotSupported,
    WorkerError,
)
from transports.frames import Buffer, Parcel, as_buffer
from transports.loading import Defaults
from transports.logs import get_logger
from transports.messages import ChatRequest, Done, Generate, ImagePart, Item, Prefill, Timings, Welcome
from transports.pixels import read_pixels
from workers.defaults import NO_DEFAULTS, fill_in
from workers.engine import Engine, Failure, Numbers, Output
from workers.outbox import Outbox

log = get_logger()

Send = Callable[[Parcel], None]


@dataclass(slots=True)
class _Active:
    """A request inside the engine."""

    peer: str
    arrived_s: float
    first_delta_s: float | None = None


class Session:
    """The requests of one loaded engine, from submit to their one end."""

    def __init__(
        self,
        engine: Engine,
        send: Send,
        welcome: Welcome,
        defaults: Defaults = NO_DEFAULTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is inside yet.

        Args:
            engine: A loaded engine.
            send: Takes what is for the kernel.
            welcome: Says where shared files are, and how large a message may be.
            defaults: `Load.defaults`.
            clock: Monotonic seconds.
        """
        self._engine = engine
        # Envelope and body are frames too.
        self._outbox = Outbox(send, welcome.max_frames - 2)
        self._welcome = welcome
        self._defaults = defaults
        self._clock = clock
        self._active: dict[str, _Active] = {}
        # Counted, for another thread must not walk through `_active`.
        self._num_prefilling = 0

    def handle(self, message: Parcel) -> None:
        """Take a submit or a cancel from the kernel."""
        envelope = message.envelope
        if envelope.type == "submit":
            self._submit(message)
        elif envelope.type == "cancel":
            for request_id in envelope.ids:
                self._emit(self._engine.cancel(request_id))

    def step(self) -> None:
        """One unit of the engine's work; its output leaves as one events message a frontend."""
        self._emit(self._engine.step(), may_wait=True)

    @property
    def num_active(self) -> int:
        """Requests inside the engine; may be asked for by another thread."""
        return len(self._active)

    def has(self, request_id: str) -> bool:
        """Whether that request is inside; may be asked by another thread."""
        return request_id in self._active

    @property
    def num_prefilling(self) -> int:
        """Those of them that have no token yet; may be asked for by another thread."""
        return self._num_prefilling

    def _submit(self, message: Parcel) -> None:
        envelope = message.envelope
        request_id = envelope.ids[0]
        now = self._clock()
        self._active[request_id] = _Active(envelope.peer, now)
        self._num_prefilling += 1
        # The next step reads its prompt.
        self._outbox.flush(now)
        try:
            body_type = self._engine.tasks.get(envelope.task)
            if body_type is None:
                known = ", ".join(sorted(self._engine.tasks))
                raise TaskNotSupported(f"task: expected one of {known}, got {envelope.task!r}")
            body = fill_in(decode_body(message.body, body_type), self._defaults)
            self._engine.add(request_id, envelope.task, body, self._buffers(message, body))
            if isinstance(body, Generate) and body.count_only:
                # It has its tokens now, and has not been computed.
                self._emit([_counted(output) for output in self._engine.cancel(request_id)])
        except MlxdError as e:
            self._emit([Failure(id=request_id, error=e)])
        except Exception:  # A library's surprise at one request must not end the others.
            log.exception("request_failed", request_id=request_id)
            error = WorkerError("the engine failed on this request; the worker's log has the cause")
            self._emit([Failure(id=request_id, error=error)])

    def _buffers(self, message: Parcel, body: Message) -> list[Buffer]:
        """What came with the body: engines do not know how pixels travel."""
        if isinstance(body, ChatRequest):
            _check_image_parts(body)
            return read_pixels(body.images, message.buffers, self._welcome.shared_dir, message.envelope.peer)
        return [as_buffer(frame) for frame in message.buffers]

    def _emit(self, outputs: list[Output], *, may_wait: bool = False) -> None:
        """Send *outputs*; with *may_wait* what is only more text may wait for the next ones."""
        now = self._clock()
        for output in outputs:
            active = self._active.get(output.id)
            if active is None:
                log.error("engine_spoke_of_unknown_request", request_id=output.id)
                continue
            if isinstance(output, Numbers):
                output = self._checked(output)  # noqa: PLW2901  # It may be too large to leave.
            if isinstance(output, Failure):
                self._outbox.fail(active.peer, output)
                self._end(active, output.id)
                may_wait = False
            else:
                # Ends are waited for, and so is the first text.
                says_more = active.first_delta_s is not None and not isinstance(
                    output, Done | Numbers | Prefill
                )
                may_wait = may_wait and says_more
                self._put(active, output, now)
        # A step that reads a prompt may take long.
        if not (may_wait and self._num_prefilling == 0) or self._outbox.is_due(now):
            self._outbox.flush(now)

    def _put(self, active: _Active, output: Item | Numbers, now: float) -> None:
        """Note the first of what the model says, and the end; give Done its timings."""
        if not isinstance(output, Done | Numbers | Prefill) and active.first_delta_s is None:
            active.first_delta_s = now
            self._num_prefilling -= 1
        if isinstance(output, Numbers):
            self._outbox.put(active.peer, output)
            output = Done(id=output.id, finish_reason="stop", usage=output.usage)
        if isinstance(output, Done):
            self._end(active, output.id)
            first_s = active.first_delta_s or now
            timings = Timings(ttft_s=first_s - active.arrived_s, total_s=now - active.arrived_s)
            output = msgspec.structs.replace(output, timings=timings)
        self._outbox.put(active.peer, output)

    def _checked(self, output: Numbers) -> Numbers | Failure:
        limit = self._welcome.max_frame_bytes
        if len(output.values) <= limit:
            return output
        error = RequestTooLarge(
            f"{output.num_rows} vectors of {output.row_size} numbers: expected at most {limit} bytes of them "
            "(kernel.max_frame_bytes); send fewer at once, or ask for smaller ones"
        )
        return Failure(id=output.id, error=error)

    def _end(self, active: _Active, request_id: str) -> None:
        del self._active[request_id]
        self._num_prefilling -= active.first_delta_s is None


def _counted(output: Output) -> Output:
    """The end of a request that was only counted, which nobody has cancelled."""
    return msgspec.structs.replace(output, finish_reason="length") if isinstance(output, Done) else output


def _check_image_parts(body: ChatRequest) -> None:
    for index, message in enumerate(body.messages):
        for part in () if isinstance(message.content, str) else message.content:
            if isinstance(part, ImagePart) and part.image >= len(body.images):
                raise RemoteProtocolError(
                    f"messages[{index}]: expected one of {len(body.images)} images, got image {part.image}"
                )
