"""A whole frontend in one file: asks a running kernel one question and prints the answer as it comes.

Needs pyzmq and msgpack, nothing of mlxd. docs/protocol.md explains each step. Ctrl-C cancels.

    python minimal_frontend.py ~/.local/share/mlxd/run/connection.json MODEL "What is ZeroMQ?"
"""

import json
import os
import secrets
import signal
import sys
from pathlib import Path

import msgpack
import zmq


def send(socket, type_, body, **envelope):
    envelope |= {"version": 1, "type": type_}
    socket.send_multipart([msgpack.packb(envelope), msgpack.packb(body)])


def receive(socket, timeout_s):
    if not socket.poll(timeout_s * 1000):
        sys.exit("the kernel is gone")
    envelope, body = map(msgpack.unpackb, socket.recv_multipart()[:2])
    if envelope["type"] == "failed" and not envelope.get("ids"):
        sys.exit(body["message"])  # Not let in, or cut off.
    return envelope, body


def connect(connection):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, secrets.token_urlsafe(16).encode())
    socket.setsockopt(zmq.LINGER, 200)  # Milliseconds, for the bye at the end.
    socket.connect(connection["endpoint"])
    hello = {"role": "frontend", "kind": "example", "name": "example", "pid": os.getpid()}
    send(socket, "hello", hello | {"token": connection["token"], "mlxd_version": connection["version"]})
    _, welcome = receive(socket, timeout_s=5)
    return socket, welcome["dead_after_s"]


def ask(socket, dead_after_s, model, prompt):
    """Print the answer; how it ended."""
    request, end = secrets.token_urlsafe(16), "ended without saying how"
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 200}
    send(socket, "submit", body, ids=[request], model=model, task="chat")
    unwanted = []
    signal.signal(signal.SIGINT, lambda *_: unwanted.append(request))
    while True:
        envelope, body = receive(socket, dead_after_s)
        if unwanted:  # Seen at the next ping at the latest; the end still comes.
            send(socket, "cancel", {}, ids=[unwanted.pop()])
        if envelope["type"] == "ping":
            send(socket, "pong", {})
        elif request not in envelope.get("ids", []):
            continue
        elif envelope["type"] == "progress":
            print(f"waiting: {body['phase']}", file=sys.stderr)
        elif envelope["type"] == "events":
            for item in body["items"]:
                if item["type"] == "delta":
                    print(item.get("text", ""), end="", flush=True)
                elif item["type"] == "done":
                    end = item["finish_reason"]
        elif envelope["type"] == "failed":
            end = f"{body['code']}: {body['message']}"
        if request in envelope.get("finished", []):
            return end


if __name__ == "__main__":
    socket, dead_after_s = connect(json.loads(Path(sys.argv[1]).read_text()))
    end = ask(socket, dead_after_s, *sys.argv[2:])
    send(socket, "bye", {})
    socket.close()
    print(end, file=sys.stderr)
    sys.exit(end not in ("stop", "length", "cancelled"))
