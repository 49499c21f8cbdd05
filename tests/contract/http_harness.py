"""The HTTP frontend on a real port of the loopback, with a kernel played by the test."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import described
from leaks import LEAK
from loop_watch import of_a_door, watched

from plugins.client import Submission, Update
from plugins.http.frontend import HttpFrontend
from plugins.http.headers import ALWAYS
from plugins.vectors import NumberRows
from transports.envelope import Message
from transports.errors import KernelUnavailable, MlxdError
from transports.messages import Delta, Done, ReasoningDelta, Usage, Welcome
from transports.reports import ModelInfo, StatusReply
from transports.settings import MediaSettings
from transports.tools import ToolCallBegin, ToolCallDelta, ToolCallEnd

MODEL = "demo/echo"
USAGE = Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=3, reasoning_tokens=1)
TIMEOUT_S = 10.0
# For `FakeClient.more_models`: the others never think.
THINKS = ModelInfo(name="thinks", kind="text", state="ready", source="folder", capabilities=("reasoning",))
# A key file that is not there.
NO_KEYS = Path("/nonexistent/keys.json")


class FakeClient:
    """Stands for KernelClient: submissions are recorded, their updates come from the test."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.lost = asyncio.Event()
        self.submitted: list[tuple[Submission, dict[str, Any]]] = []
        self.cancelled: list[str] = []
        self.is_ready = True
        self.welcome = Welcome(
            kernel_version="0", heartbeat_s=1, dead_after_s=5, max_frame_bytes=1 << 26, max_frames=40
        )
        self.more_models: tuple[ModelInfo, ...] = ()
        # Where pixels may go besides the message.
        self.shared_folder = ""
        # Called with each new submission.
        self.script: Callable[[Submission, Message], None] = say("Hello", " world")
        self._changed = asyncio.Condition()

    def submit(self, **kwargs: Any) -> Submission:
        submission = Submission(f"request-{len(self.submitted)}", self.cancel)
        self.submitted.append((submission, kwargs))
        self._notify()
        self.script(submission, kwargs["body"])
        return submission

    def holding(self, _: object) -> AbstractContextManager[None]:
        return nullcontext()

    def cancel(self, request_id: str) -> None:
        """A submission is no longer wanted."""
        self.cancelled.append(request_id)
        self._notify()

    async def models(self) -> tuple[ModelInfo, ...]:
        return (
            ModelInfo(
                name=MODEL,
                kind="text",
                state="ready",
                source="demo",
                created=1700000000,
                size_bytes=1000,
                context_length=4096,
            ),
            ModelInfo(name="plain", kind="text", state="available", source="folder", created=1600000000),
            *self.more_models,
            ModelInfo(name="of/no/kind", kind="", state="failed", source="folder"),
        )

    async def status(self) -> StatusReply:
        if self.lost.is_set():
            raise KernelUnavailable("gone")
        waiting_for = () if self.is_ready else ("model demo/echo: load 40%",)
        return StatusReply(
            version="0",
            pid=1,
            uptime_s=1.0,
            state="running",
            memory_bytes=1,
            home="/",
            is_ready=self.is_ready,
            waiting_for=waiting_for,
        )

    @property
    def body(self) -> Any:
        """The body of the last submission."""
        return self.submitted[-1][1]["body"]

    async def wait_for(self, is_so: Callable[[], object]) -> None:
        """Wait until something was submitted or cancelled that makes *is_so* true."""
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(lambda: bool(is_so()))

    def _notify(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._notifier = asyncio.ensure_future(notify())


def updates_of(submission: Submission, *texts: str, finish: str = "stop") -> list[Update]:
    """Deltas with *texts* and the end."""
    deltas: list[Update] = [Delta(id=submission.id, text=text) for text in texts]
    return [*deltas, Done(id=submission.id, finish_reason=finish, usage=USAGE)]  # type: ignore[arg-type]


def say(*texts: str, finish: str = "stop") -> Callable[[Submission, Message], None]:
    """A script that answers at once."""

    def script(submission: Submission, _: Message) -> None:
        for update in updates_of(submission, *texts, finish=finish):
            submission.put(update)

    return script


def thinks_and_calls(submission: Submission, _: Message) -> None:
    """A script that thinks, says a word and calls a tool."""
    for item in (
        ReasoningDelta(id=submission.id, text="Hm."),
        Delta(id=submission.id, text="Look: "),
        ToolCallBegin(id=submission.id, index=0, call_id="callAAAAA", name="look"),
        ToolCallDelta(id=submission.id, index=0, arguments='{"at":'),
        ToolCallDelta(id=submission.id, index=0, arguments='"x"}'),
        ToolCallEnd(id=submission.id, index=0),
        Done(id=submission.id, finish_reason="tool_calls", usage=USAGE),
    ):
        submission.put(item)


def fail(error: MlxdError, *texts: str) -> Callable[[Submission, Message], None]:
    """A script that says *texts* and then fails."""

    def script(submission: Submission, _: Message) -> None:
        for text in texts:
            submission.put(Delta(id=submission.id, text=text))
        submission.put(error)

    return script


def give(*rows: list[float]) -> Callable[[Submission, Message], None]:
    """A script that answers with these rows of numbers."""

    def script(submission: Submission, _: Message) -> None:
        packed = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
        submission.put(NumberRows(len(rows[0]), memoryview(packed)))
        usage = Usage(prompt_tokens=5, completion_tokens=0)
        submission.put(Done(id=submission.id, finish_reason="stop", usage=usage))

    return script


def say_nothing(submission: Submission, _: Message) -> None:
    """A script that leaves the updates to the test."""


class Door:
    """A running frontend and its address."""

    def __init__(self, client: FakeClient, url: str) -> None:
        self.client = client
        self.url = url
        self.port = int(url.rpartition(":")[2])

    async def raw(self, data: bytes) -> RawConnection:
        """A bare connection on which *data* was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return RawConnection(reader, writer)

    async def post(self, path: str, body: object, **headers: str) -> Reply:
        """POST; a body that is not bytes is sent as JSON."""
        return await self.request("POST", path, body, **headers)

    async def chat(self, **fields: object) -> Reply:
        """POST a chat with these further fields."""
        return await self.post("/v1/chat/completions", chat_body(**fields))

    async def complete(self, **fields: object) -> Reply:
        """POST a completion with these further fields."""
        return await self.post("/v1/completions", {"model": MODEL, "prompt": "Once", **fields})

    async def request(self, method: str, path: str, body: object = b"", **headers: str) -> Reply:
        """A request on a connection of its own, read to its end.

        Its answer is as /openapi.json says, has the headers of every answer, and no leak.
        """
        connection = await self.raw(self.bytes_of(method, path, body, **headers))
        try:
            reply = await connection.reply(has_body=method != "HEAD")
        finally:
            connection.close()
        media_type = reply.headers.get("content-type", "").partition(";")[0]
        described.check(method, path, body, reply.status, media_type, reply.body)
        # A proxy puts its own name there.
        assert lower(ALWAYS | {"Server": reply.headers["server"]}).items() <= reply.headers.items()
        assert reply.status < 400 or not LEAK.search(reply.body.decode()), reply.body
        return reply

    def bytes_of(self, method: str, path: str, body: object = b"", **headers: str) -> bytes:
        """A request as it goes over the wire; underscores in header names stand for hyphens."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"Host": f"127.0.0.1:{self.port}"}
        if method == "POST":
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


class RawConnection:
    """A connection that sees every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """The status line and headers."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def until(self, mark: bytes) -> bytes:
        """What comes, up to and with *mark*."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.read()

    async def reply(self, *, has_body: bool = True) -> Reply:
        """One whole answer; the connection stays open."""
        head = await self.head()
        status = int(head.split(b" ", 2)[1])
        pairs = [line.partition(": ") for line in head.decode().split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in pairs}
        body = b""
        async with asyncio.timeout(TIMEOUT_S):
            if not has_body or status == 204:
                pass
            elif headers.get("transfer-encoding") == "chunked":
                while size := int((await self.reader.readuntil(b"\r\n"))[:-2], 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
            else:
                body = await self.reader.readexactly(int(headers["content-length"]))
        return Reply(status, headers, body)

    def close(self) -> None:
        self.writer.close()


class Reply:
    """A whole answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """What stands under "error"; the keys are those of OpenAI."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    @property
    def events(self) -> list[Any]:
        """The JSON of each event of a stream; the end mark as a string."""
        data = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [text if text == "[DONE]" else json.loads(text) for text in data]


def lower(headers: dict[str, str]) -> dict[str, str]:
    """*headers*, named as those of a `Reply`."""
    return {name.lower(): value for name, value in headers.items()}


def chat_body(**fields: object) -> dict[str, object]:
    """A good chat request with these further fields."""
    return {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **fields}


@asynccontextmanager
async def open_door(
    client: FakeClient | None = None,
    *,
    media: MediaSettings | None = None,
    keys_path: Path = NO_KEYS,
    **settings: Any,
) -> AsyncIterator[Door]:
    """A frontend that serves until the block is left; fails where it was too long at one thing."""
    client = client or FakeClient()
    frontend = HttpFrontend({"port": 0, **settings}, media or MediaSettings(), keys_path)
    url = await frontend.open()
    serving = asyncio.create_task(frontend.serve(client), context=of_a_door())  # type: ignore[arg-type]
    # What is made before the first client can come holds up nobody.
    await asyncio.sleep(0)
    with watched():
        # What runs now was begun before anyone looked at whose it is.
        await asyncio.sleep(0)
        try:
            yield Door(client, url)
        finally:
            for submission, _ in client.submitted:
                submission.put(KernelUnavailable("the test is over"))
            client.stopping.set()
            async with asyncio.timeout(TIMEOUT_S):
                await serving
            await frontend.close()
