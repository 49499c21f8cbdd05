"""A worker that says what it should not, as the prompt tells it; run as the interpreter of an environment."""

from __future__ import annotations

import os
import sys
from itertools import count

from transports import tether
from transports.codec import decode_body
from transports.envelope import new_id
from transports.frames import parcel
from transports.loading import Ready
from transports.messages import ChatRequest, Delta, Done, Events, Hello, Item, Pong, Usage
from workers.link import Link, hello_of

USAGE = Usage(prompt_tokens=1, completion_tokens=1)


def main() -> None:
    """Load as any worker does, then lie."""
    bootstrap = tether.read_bootstrap(tether.PeerBootstrap)
    tether.die_with_parent(lambda: os._exit(1))
    link = Link(bootstrap.endpoint, new_id(), hello_of(bootstrap))
    link.answer_pings(0.05)
    while link.receive().envelope.type != "load":
        pass
    link.send(parcel("ready", Ready(num_slots=8, context_length=1000, device="none")))
    counter = count()
    running: list[str] = []
    while True:
        message = link.receive()
        if message.envelope.type == "unload":
            os._exit(0)
        if message.envelope.type != "submit":
            continue
        content = decode_body(message.body, ChatRequest).messages[-1].content
        lie(link, str(content), message.envelope.ids[0], message.envelope.peer, running)
        running.append(message.envelope.ids[0])
        if content == "NO_END_BUSY":
            link.report_with(lambda: Pong(progress=7, num_active=1), lambda _: True)
        if content == "NO_END_WORKING":
            link.report_with(lambda: Pong(progress=next(counter), num_active=1), lambda _: True)
        if content == "FORGETS":
            link.report_with(
                lambda: Pong(progress=next(counter), num_active=1), set(running[:-1]).__contains__
            )


def lie(link: Link, how: str, request_id: str, peer: str, running: list[str]) -> None:
    """Answer a request."""

    def say(*items: Item, ids: tuple[str, ...] = (), finished: tuple[str, ...] = ()) -> None:
        ids = ids or (request_id,)
        link.send(parcel("events", Events(items=items), ids=ids, finished=finished, peer=peer))

    good = Done(id=request_id, finish_reason="stop", usage=USAGE)
    match how:
        case "TWO_ENDS":
            say(Delta(id=request_id, text="said"), good, finished=(request_id,))
            say(good, finished=(request_id,))
        case "AFTER_THE_END":
            say(Delta(id=request_id, text="said"), good, finished=(request_id,))
            say(Delta(id=request_id, text="more"))
        case "UNKNOWN_ID":
            say(Delta(id="0" * 32, text="x"), ids=("0" * 32,))
        case "FOREIGN_ITEM":
            # The envelope is honest, the body is not: the kernel does not read it.
            say(Delta(id=running[0], text="foreign"), Delta(id=request_id, text="own"))
            say(good, finished=(request_id,))
        case "END_IN_ENVELOPE_ONLY":
            say(Delta(id=request_id, text="said"), finished=(request_id,))
        case "END_IN_BODY_ONLY":
            say(Delta(id=request_id, text="said"), good)
        case "NO_END" | "NO_END_BUSY" | "NO_END_WORKING" | "FORGETS" | "WAIT":
            say(Delta(id=request_id, text="said"))
        case "NONSENSE":
            link.send(parcel("hello", Hello(**{**_NOBODY, "pid": 1})))
        case _:
            say(Delta(id=request_id, text=how), good, finished=(request_id,))


_NOBODY = {"role": "worker", "kind": "text", "name": "x", "token": "x", "mlxd_version": "x"}

if __name__ == "__main__":
    sys.exit(main())
