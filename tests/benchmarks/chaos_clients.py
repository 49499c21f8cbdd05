"""Who asks: each kind of client sends one request and says how it ended."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chaos_outcome import End, Outcome, Violation, check_code, check_markers, check_text, marker
from chaos_world import CALM, World
from PIL import Image
from raw_http import Reply, events_of, posted

from plugins.client import KernelClient
from transports.errors import MlxdError
from transports.frames import Parcel
from transports.messages import ChatMessage, ChatRequest, Delta, Done

# A request without an end after this is stuck: longer than all limits of `chaos_world.SETTINGS` in a row.
STUCK_S = 60.0
MLXD = str(Path(sys.executable).with_name("mlxd"))
# Pixels beyond `media.shared_memory_bytes`, so that they go through a shared file.
PICTURE_SIDE = 448
# Too small for what a slow reader is sent.
SMALL_BUFFER_BYTES = 4096
# More than any echo says.
MAX_TOKENS = 500
# Of a real model, which does on a CPU in a second what an echo does in a millisecond.
MAX_REAL_TOKENS = 16
MAX_REAL_MARKERS = 5
# Of one client at a time.
MAX_AT_ONCE = 4


@dataclass
class Ask:
    """One request: who, of which model, what, and the dice for what the client does to it."""

    world: World
    model: str
    marker: str
    chance: Random
    # How often something came, and when last.
    num_heard: int = 0
    heard_s: float = field(default_factory=time.monotonic)

    @property
    def is_real(self) -> bool:
        return not self.model.startswith("echo/")

    @property
    def max_tokens(self) -> int:
        return MAX_REAL_TOKENS if self.is_real else MAX_TOKENS

    def some_text(self) -> str:
        """What is said, and must come back."""
        return self.text(self.chance.choice((1, 5, 20, 60)))

    def text(self, num_markers: int) -> str:
        """So many markers; fewer for a real model."""
        return " ".join([self.marker] * (min(num_markers, MAX_REAL_MARKERS) if self.is_real else num_markers))

    def body(self, content: object, **fields: object) -> dict[str, object]:
        """A chat with one message, as HTTP has it."""
        messages = [{"role": "user", "content": content}]
        return {"model": self.model, "messages": messages, "max_tokens": self.max_tokens, **fields}

    def hear(self) -> None:
        """Something came."""
        self.num_heard += 1
        self.heard_s = time.monotonic()

    async def read(self, reply: Reply) -> None:
        """Read an answer to its end, whatever it is."""
        async for _ in reply.pieces():
            self.hear()

    def check(self, said: str, expected: str, *, is_whole: bool) -> None:
        """What came is what an echo says; a real model may say anything but a foreign marker.

        Raises:
            Violation: It is not.
        """
        if self.is_real:
            check_markers(said, expected)
        else:
            check_text(said, expected, is_whole=is_whole)


async def http_stream(ask: Ask) -> tuple[End, str]:
    """Read a stream to its end."""
    text = ask.some_text()
    async with posted(ask.world.url, "/v1/chat/completions", ask.body(text, stream=True)) as reply:
        await reply.read_head()
        await ask.read(reply)
        return _stream_end(ask, reply, text)


async def http_whole(ask: Ask) -> tuple[End, str]:
    """Wait for a whole answer, to a chat or a completion."""
    text = ask.some_text()
    is_chat = ask.chance.random() < 0.5
    body = ask.body(text) if is_chat else {"model": ask.model, "prompt": text, "max_tokens": ask.max_tokens}
    path = "/v1/chat/completions" if is_chat else "/v1/completions"
    async with posted(ask.world.url, path, body) as reply:
        await reply.read_head()
        await ask.read(reply)
        if reply.status != 200 or not reply.is_whole:
            return _refusal(reply)
        choice = json.loads(reply.body)["choices"][0]
        ask.check(choice["message"]["content"] if is_chat else choice["text"], text, is_whole=True)
        return "done", ""


async def http_picture(ask: Ask) -> tuple[End, str]:
    """Show a picture of a colour that nobody else shows: its pixels go through a shared file."""
    color = ask.chance.randbytes(3)
    file = io.BytesIO()
    Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE), tuple(color)).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    parts = [{"type": "text", "text": ask.marker}, {"type": "image_url", "image_url": {"url": url}}]
    said = f"{ask.marker} {PICTURE_SIDE}x{PICTURE_SIDE}:{color.hex()}-{color.hex()}"
    async with posted(ask.world.url, "/v1/chat/completions", ask.body(parts, stream=True)) as reply:
        await reply.read_head()
        await ask.read(reply)
        return _stream_end(ask, reply, said)


async def http_leaver(ask: Ask) -> tuple[End, str]:
    """Go away in any phase: before the head, while queued or loading, after some tokens; by FIN or RST."""
    body = ask.body(ask.text(200), stream=ask.chance.random() < 0.7)
    async with posted(ask.world.url, "/v1/chat/completions", body) as reply:
        try:
            async with asyncio.timeout(ask.chance.choice((0.0, 0.01, 0.1, 0.5, 1.0))):
                await reply.read_head()
                await ask.read(reply)
        except TimeoutError:
            pass
        if ask.chance.random() < 0.5:
            reply.reset()
    return "left", ""


async def http_slow_reader(ask: Ask) -> tuple[End, str]:
    """Leave a stream unread for a while, then read the rest; being thrown out is right too."""
    text = ask.text(400)
    body = ask.body(text, stream=True)
    async with posted(
        ask.world.url, "/v1/chat/completions", body, receive_buffer=SMALL_BUFFER_BYTES
    ) as reply:
        await reply.read_head()
        await asyncio.sleep(ask.chance.uniform(0.5, 3.0))
        await ask.read(reply)
        end, detail = _stream_end(ask, reply, text)
        return ("left" if end == "broken" else end), detail


class CountingClient(KernelClient):
    """A frontend of its own that counts the ends of its requests as they come from the kernel."""

    ended: dict[str, int]

    def _on_message(self, message: Parcel) -> None:
        for request_id in message.envelope.finished:
            self.ended = getattr(self, "ended", {})
            self.ended[request_id] = self.ended.get(request_id, 0) + 1
        super()._on_message(message)


async def raw(ask: Ask) -> tuple[End, str]:
    """A frontend peer with several requests at once, one of which may be cancelled."""
    client = await ask.world.connect(CountingClient, "chaos-raw")
    vanishes = ask.chance.random() < 0.1
    try:
        ends = await asyncio.gather(
            *[_submitted(client, ask, vanishes) for _ in range(ask.chance.choice((1, MAX_AT_ONCE)))]
        )
    finally:
        await client.close()
    if twice := [request_id for request_id, count in getattr(client, "ended", {}).items() if count > 1]:
        raise Violation(f"{len(twice)} requests ended twice")
    return max(ends, key=lambda end: end[0] == "failed")


async def _submitted(client: KernelClient, ask: Ask, vanishes: bool) -> tuple[End, str]:
    text, said = ask.some_text(), ""
    body = ChatRequest(messages=(ChatMessage(role="user", content=text),), max_tokens=ask.max_tokens)
    cancels_after = ask.chance.choice((None, None, 0, 3))
    num_updates = 0
    try:
        async with client.submit(task="chat", model=ask.model, body=body, client=ask.marker) as answer:
            async for update in answer:
                num_updates += 1
                ask.hear()
                if isinstance(update, Delta):
                    said += update.text
                if vanishes and num_updates == 3:
                    client.set_lost()
                    return "left", ""
                if num_updates == cancels_after:
                    answer.cancel()
                if isinstance(update, Done):
                    was_cancelled = update.finish_reason == "cancelled"
                    if was_cancelled and cancels_after is None:
                        raise Violation("cancelled by nobody")
                    ask.check(said, text, is_whole=not was_cancelled)
                    return ("left" if was_cancelled else "done"), ""
    except MlxdError as e:
        if client.lost.is_set() and vanishes:
            return "left", ""
        check_code(e.code)
        ask.check(said, text, is_whole=False)
        return "failed", e.code
    raise Violation("a submission ended without an end")


async def command(ask: Ask) -> tuple[End, str]:
    """`mlxd run`, killed now and then."""
    text = ask.some_text()
    process = await asyncio.create_subprocess_exec(
        *(MLXD, "run", "--max-tokens", str(ask.max_tokens), ask.model, text),
        env={**os.environ, "MLXD_HOME": str(ask.world.home), "MLXD_KERNEL_FRONTENDS": ""},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    killing = None
    if ask.chance.random() < 0.2:
        delay_s = ask.chance.uniform(0, 1)
        killing = asyncio.get_running_loop().call_later(delay_s, _kill, process)
    try:
        out, err = await process.communicate()
    finally:
        if killing:
            killing.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == -signal.SIGKILL:
        return "left", ""
    if b"Traceback" in err:
        raise Violation(f"mlxd run: {err.decode()[-500:]}")
    ask.check(out.decode().removesuffix("\n"), text, is_whole=process.returncode == 0)
    if process.returncode == 0:
        return "done", ""
    return "failed", err.decode().strip().splitlines()[-1][:200] if err else f"exit {process.returncode}"


def _kill(process: asyncio.subprocess.Process) -> None:
    """Not by `send_signal`, which would reap one that has just ended, and lose its exit code."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


Client = Callable[[Ask], Awaitable[tuple[End, str]]]
# What a client is, and how often it is chosen.
CLIENTS: dict[str, tuple[Client, int]] = {
    "http stream": (http_stream, 8),
    "http whole": (http_whole, 4),
    "http picture": (http_picture, 2),
    "http leaver": (http_leaver, 4),
    "http slow reader": (http_slow_reader, 1),
    "kernel client": (raw, 4),
    "mlxd run": (command, 1),
}
MODELS_ASKED = (
    CALM,
    CALM,
    CALM,
    "echo/slow",
    "echo/slow",
    "echo/narrow",
    "echo/heavy",
    "echo/faulty",
    "echo/broken",
)


async def ask_once(world: World, number: int, turn: int, chance: Random) -> Outcome:
    """One request of a client that is chosen by chance, from its begin to its checked end.

    Raises:
        Violation: What came back must never come back.
    """
    names = list(CLIENTS)
    name = chance.choices(names, [CLIENTS[name][1] for name in names])[0]
    model = "echo/eyes" if name == "http picture" else chance.choice((*MODELS_ASKED, *world.more_models))
    ask = Ask(world, model, marker(number, turn), chance)
    began_s = time.monotonic()
    limit_s = STUCK_S + world.kernel.hung_after_s + world.slowest_s.get(model, 0.0)
    try:
        async with asyncio.timeout(limit_s):
            end, detail = await CLIENTS[name][0](ask)
    except TimeoutError:
        heard = f"it heard {ask.num_heard} times, last {time.monotonic() - ask.heard_s:.1f} s ago"
        raise Violation(f"stuck: {name} of {model} had no end in {limit_s:.0f} s; {heard}") from None
    except MlxdError as e:
        check_code(e.code)
        end, detail = "failed", e.code
    except (OSError, EOFError) as e:
        end, detail = "broken", type(e).__name__
    outcome = Outcome(name, model, began_s, time.monotonic(), end, detail)
    world.check(outcome)
    return outcome


def _stream_end(ask: Ask, reply: Reply, expected: str) -> tuple[End, str]:
    """How an event stream ended."""
    if reply.status != 200:
        return _refusal(reply)
    events = events_of(reply.body)
    said = "".join(e["choices"][0]["delta"].get("content", "") for e in events if e.get("choices"))
    codes = [e["error"]["code"] for e in events if "error" in e]
    has_good_end = reply.body.endswith(b"data: [DONE]\n\n")
    if codes:
        check_code(codes[0])
        ask.check(said, expected, is_whole=False)
        if has_good_end or reply.is_whole or len(codes) > 1:
            raise Violation(f"two ends: {reply.body[-200:]!r}, whole body: {reply.is_whole}")
        return "failed", codes[0]
    if reply.is_whole:
        if not has_good_end:
            raise Violation(f"silent truncation: a whole body that ends in {reply.body[-200:]!r}")
        ask.check(said, expected, is_whole=True)
        return "done", ""
    ask.check(said, expected, is_whole=False)
    return "broken", "the connection ended"


def _refusal(reply: Reply) -> tuple[End, str]:
    """What an answer of another status than 200 says, if it came whole."""
    if not reply.is_whole:
        return "broken", "the connection ended"
    code = json.loads(reply.body)["error"]["code"]
    check_code(code)
    return "failed", code
