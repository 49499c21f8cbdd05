"""The worker's side of the protocol, without sockets: what arrives, what the engine says, what leaves.

Runs on the engine's thread. Knows the Engine contract, no model and no ZeroMQ socket.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from transports.codec import decode_body
from transports.errors import MlxdError, RemoteProtocolError, TaskNotSupported, WorkerError
from transports.frames import Buffer, Parcel, as_buffer, parcel
from transports.logs import get_logger
from transports.messages import ChatRequest, Delta, Done, Events, ImagePart, Item, Message, Timings
from transports.pixels import read_pixels
from workers.engine import Engine, Failure, Output

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

    def __init__(self, engine: Engine, send: Send, shared_dir: str = "") -> None:
        """Nothing is inside yet.

        Args:
            engine: A loaded engine.
            send: Takes what is for the kernel.
            shared_dir: `Welcome.shared_dir`.
        """
        self._engine = engine
        self._send = send
        self._shared_dir = shared_dir
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
        self._emit(self._engine.step())

    @property
    def num_active(self) -> int:
        """Requests inside the engine; may be asked for by another thread."""
        return len(self._active)

    @property
    def num_prefilling(self) -> int:
        """Those of them that have no token yet; may be asked for by another thread."""
        return self._num_prefilling

    def _submit(self, message: Parcel) -> None:
        envelope = message.envelope
        request_id = envelope.ids[0]
        self._active[request_id] = _Active(envelope.peer, time.monotonic())
        self._num_prefilling += 1
        try:
            body_type = self._engine.tasks.get(envelope.task)
            if body_type is None:
                known = ", ".join(sorted(self._engine.tasks))
                raise TaskNotSupported(f"task: expected one of {known}, got {envelope.task!r}")
            body = decode_body(message.body, body_type)
            self._engine.add(request_id, envelope.task, body, self._buffers(message, body))
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
            return read_pixels(body.images, message.buffers, self._shared_dir, message.envelope.peer)
        return [as_buffer(frame) for frame in message.buffers]

    def _emit(self, outputs: list[Output]) -> None:
        by_peer: dict[str, list[Item]] = defaultdict(list)
        failures: list[tuple[str, Failure]] = []
        finished: set[str] = set()
        for output in outputs:
            active = self._active.get(output.id)
            if active is None:
                log.error("engine_spoke_of_unknown_request", request_id=output.id)
                continue
            if isinstance(output, Failure):
                failures.append((active.peer, output))
                finished.add(output.id)
            else:
                by_peer[active.peer].append(self._timed(output, active))
                if isinstance(output, Done):
                    finished.add(output.id)
        for request_id in finished:
            self._num_prefilling -= self._active.pop(request_id).first_delta_s is None
        for peer, items in by_peer.items():
            ids = dict.fromkeys(item.id for item in items)
            ended = [item.id for item in items if isinstance(item, Done)]
            self._send(
                parcel("events", Events(items=tuple(items)), ids=tuple(ids), finished=ended, peer=peer)
            )
        for peer, failure in failures:
            ids_ = (failure.id,)
            self._send(parcel("failed", failure.error.to_failed(), ids=ids_, finished=ids_, peer=peer))

    def _timed(self, item: Item, active: _Active) -> Item:
        """Note the first delta; give Done its timings."""
        now = time.monotonic()
        if isinstance(item, Delta) and active.first_delta_s is None:
            active.first_delta_s = now
            self._num_prefilling -= 1
        if not isinstance(item, Done):
            return item
        first_s = active.first_delta_s or now
        timings = Timings(ttft_s=first_s - active.arrived_s, total_s=now - active.arrived_s)
        return Done(
            id=item.id, finish_reason=item.finish_reason, usage=item.usage, stop=item.stop, timings=timings
        )


def _check_image_parts(body: ChatRequest) -> None:
    for index, message in enumerate(body.messages):
        for part in () if isinstance(message.content, str) else message.content:
            if isinstance(part, ImagePart) and part.image >= len(body.images):
                raise RemoteProtocolError(
                    f"messages[{index}]: expected one of {len(body.images)} images, got image {part.image}"
                )
