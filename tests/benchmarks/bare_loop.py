"""The least a broker can do: a drained ROUTER that passes messages on, and an echoing DEALER.

`python bare_loop.py router ENDPOINT` and `python bare_loop.py worker ENDPOINT`; both end with their stdin.
"""

from __future__ import annotations

import asyncio
import sys
import threading

import zmq


def router(endpoint: str) -> None:
    """Pass what the worker says to the client named in it, and the rest to the worker."""
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
        print("bound", flush=True)
        ended = asyncio.Event()
        threading.Thread(
            target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True
        ).start()
        await ended.wait()

    asyncio.run(run())
    socket.close(0)


def worker(endpoint: str) -> None:
    """Send everything back."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, b"worker")
    socket.connect(endpoint)
    # Lets the router learn the identity.
    socket.send_multipart([b"worker", b"hello"])
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin, zmq.POLLIN)
    print("connected", flush=True)
    while True:
        ready = dict(poller.poll())
        if sys.stdin.fileno() in ready:
            break
        socket.send_multipart(socket.recv_multipart())
    socket.close(0)


if __name__ == "__main__":
    {"router": router, "worker": worker}[sys.argv[1]](sys.argv[2])
