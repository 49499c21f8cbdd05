"""A whole frontend in one file: asks a running kernel one question and prints the answer as it comes.

Needs pyzmq and msgpack, nothing of mlxd. docs/protocol.md explains each step.

    python minimal_frontend.py ~/.local/share/mlxd/run/connection.json MODEL "What is ZeroMQ?"
"""

import json
import os
import secrets
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
    envelope, body, *_ = socket.recv_multipart()
    return msgpack.unpackb(envelope), msgpack.unpackb(body)


def connect(connection):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, secrets.token_urlsafe(16).encode())
    # The bye at the end gets this long to leave, milliseconds.
    socket.setsockopt(zmq.LINGER, 200)
    socket.connect(connection["endpoint"])
    hello = {"role": "frontend", "kind": "example", "name": "example", "pid": os.getpid()}
    send(socket, "hello", hello | {"token": connection["token"], "mlxd_version": connection["version"]})
    envelope, body = receive(socket, timeout_s=5)
    if envelope["type"] == "failed":
        sys.exit(body["message"])
    return socket, body["dead_after_s"]


def ask(socket, dead_after_s, model, prompt):
    """Print the answer; 0 if it ended well."""
    request = secrets.token_urlsafe(16)
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 200}
    send(socket, "submit", body, ids=[request], model=model, task="chat")
    while True:
        envelope, body = receive(socket, dead_after_s)
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
        elif envelope["type"] == "failed":
            print(f"{body['code']}: {body['message']}", file=sys.stderr)
        if request in envelope.get("finished", []):
            return int(envelope["type"] == "failed")


def main(connection_file, model, prompt):
    socket, dead_after_s = connect(json.loads(Path(connection_file).read_text()))
    code = ask(socket, dead_after_s, model, prompt)
    send(socket, "bye", {})
    socket.close()
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
