"""The least that can stand around and in place of the kernel, to measure what the kernel itself costs.

`bare_peers.py router ENDPOINT`: a drained ROUTER that passes messages on and reads nothing.
`bare_peers.py worker ENDPOINT`: answers each submit at once, behind that router.
`bare_peers.py kernel`: the real kernel, whose workers are the same answering process.
All end with their stdin.
"""

from __future__ import annotations

import asyncio
import os
import sys

import zmq

from transports.envelope import new_id
from transports.frames import join, parcel, split
from transports.loading import Ready
from transports.messages import Done, Events, Pong, Usage
from transports.tether import PeerBootstrap, die_with_parent, read_bootstrap
from workers.link import hello_of

NUM_SLOTS = 64
USAGE = Usage(prompt_tokens=1, completion_tokens=1)


def router(endpoint: str) -> None:
    """Pass what the worker says to the peer named in its first frame, and the rest to the worker."""
    socket = zmq.Context.instance().socket(zmq.ROUTER)
    socket.bind(endpoint)

    def drain() -> None:
        while True:
            try:
                sender, *rest = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if sender == b"worker":
                socket.send_multipart(rest)
            else:
                socket.send_multipart([b"worker", sender, *rest])
        if int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            asyncio.get_running_loop().call_soon(drain)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(int(socket.getsockopt(zmq.FD)), drain)
        print("ready", flush=True)
        await asyncio.Event().wait()

    die_with_parent(lambda: os._exit(0))
    asyncio.run(run())


def worker(endpoint: str) -> None:
    """Behind the bare router, which puts the client's identity in front."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, b"worker")
    socket.connect(endpoint)
    # Lets the router learn the identity.
    socket.send_multipart([b"worker", b"hello"])
    socket.recv_multipart()
    die_with_parent(lambda: os._exit(0))
    print("ready", flush=True)
    while True:
        client, *frames = socket.recv_multipart()
        socket.send_multipart([client, *_answer(frames, "")])


def kernel_worker() -> None:
    """As the kernel starts it: hello, ready, then answers."""
    bootstrap = read_bootstrap(PeerBootstrap)
    die_with_parent(lambda: os._exit(0))
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, new_id().encode())
    socket.connect(bootstrap.endpoint)
    socket.send_multipart(join(parcel("hello", hello_of(bootstrap))))
    while True:
        frames = socket.recv_multipart()
        envelope = split(frames, 16).envelope
        if envelope.type == "submit":
            socket.send_multipart(_answer(frames, envelope.peer))
        elif envelope.type == "load":
            ready = Ready(num_slots=NUM_SLOTS, context_length=1)
            socket.send_multipart(join(parcel("ready", ready)))
        elif envelope.type == "ping":
            socket.send_multipart(join(parcel("pong", Pong())))
        elif envelope.type == "unload":
            os._exit(0)


def kernel() -> None:
    """The real kernel but for the command of its workers."""
    from kernel.__main__ import main
    from kernel.commands import Launch, Launcher

    launch = Launcher.launch

    def launch_bare(self: Launcher, action: object) -> Launch:
        real = launch(self, action)  # type: ignore[arg-type]
        command = (sys.executable, __file__, "kernel_worker")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return Launch(command, environment, real.cwd, real.bootstrap)

    Launcher.launch = launch_bare  # type: ignore[method-assign, assignment]
    sys.exit(main())


def _answer(frames: list[bytes], peer: str) -> list[object]:
    (request_id,) = split(frames, 16).envelope.ids
    events = Events(items=(Done(id=request_id, finish_reason="stop", usage=USAGE),))
    return list(join(parcel("events", events, ids=(request_id,), finished=(request_id,), peer=peer)))


if __name__ == "__main__":
    {"router": router, "worker": worker, "kernel": kernel, "kernel_worker": kernel_worker}[sys.argv[1]](
        *sys.argv[2:]
    )
