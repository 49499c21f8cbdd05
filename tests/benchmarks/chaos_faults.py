"""What is done to a `World`: the faults, each with how often it is chosen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import psutil
import zmq
from chaos_outcome import Violation
from chaos_world import CALM, World
from raw_http import posted

from plugins.client import KernelClient
from transports import rundir
from transports.errors import MlxdError
from transports.messages import ChatMessage, ChatRequest

# What an echo model with faults obeys (workers/echo_faults.py); ALLOCATE would take this machine's memory.
WORDS = ("CRASH", "CRASH_THREAD", "SEGFAULT", "EXIT", "RAISE", "FAIL", "OUT_OF_MEMORY", "HANG", "HANG_GIL")
FAULTY = ("echo/faulty", "echo/broken")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGTERM)
FLOOD = 150
STORM = 50


async def kill_worker(world: World, chance: Random) -> str:
    """Signal a worker, whatever it is doing."""
    model, pid = await _victim(world, chance)
    if not pid:
        return "no worker"
    sent = chance.choice(SIGNALS)
    world.disturb(model)
    _send(pid, sent)
    return f"{sent.name} to {model}"


async def kill_loading_worker(world: World, chance: Random) -> str:
    """Unload a model that takes its time, have it loaded, and kill it at a random moment of the load."""
    world.disturb("echo/heavy")
    await world.admin("unload", "echo/heavy", force=True)
    loading = asyncio.create_task(world.admin("load", "echo/heavy"))
    await asyncio.sleep(chance.uniform(0, 0.6))
    if pid := (await world.worker_pids()).get("echo/heavy"):
        _send(pid, signal.SIGKILL)
    await loading
    return "kill during load"


async def freeze_worker(world: World, chance: Random) -> str:
    """SIGSTOP; it is never continued."""
    model, pid = await _victim(world, chance)
    if not pid:
        return "no worker"
    world.disturb(model)
    _send(pid, signal.SIGSTOP)
    return f"SIGSTOP to {model}"


async def pause_worker(world: World, chance: Random) -> str:
    """SIGSTOP and SIGCONT before anybody may think it dead: nothing may fail for it."""
    pids = await world.worker_pids()
    if not pids:
        return "no worker"
    model = chance.choice(sorted(pids))
    await _pause(pids[model], chance.uniform(0.1, 1.5))
    return f"pause of {model}"


async def pause_kernel(world: World, chance: Random) -> str:
    """As if the machine had no time for it: nothing may fail for it."""
    await _pause(world.pid, chance.uniform(0.1, 3.0))
    return "pause of the kernel"


async def pause_frontend(world: World, chance: Random) -> str:
    """As above."""
    await _pause(await world.frontend_pid(), chance.uniform(0.1, 2.0))
    return "pause of the frontend"


async def kill_frontend(world: World, _: Random) -> str:
    """The supervisor brings it back, on the same port."""
    with world.disturbed("frontend"):
        pid = await world.frontend_pid()
        _send(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while not any(f.address and f.pid not in (0, pid) for f in (await world.status()).frontends):
                await asyncio.sleep(0.02)
    return "kill of the frontend"


async def kill_decoder(world: World, _: Random) -> str:
    """The processes that decode pictures."""
    world.disturb("echo/eyes")
    with contextlib.suppress(psutil.NoSuchProcess):  # The frontend itself may just have been killed.
        for child in psutil.Process(await world.frontend_pid()).children():
            _send(child.pid, signal.SIGKILL)
    return "kill of the decoders"


async def kill_kernel(world: World, _: Random) -> str:
    """And start another."""
    await world.kill_kernel()
    return "kill of the kernel"


async def unload(world: World, chance: Random) -> str:
    """By force, so that it ends what runs; then somebody asks for it again."""
    model = chance.choice(sorted({*await world.worker_pids()} - {CALM}) or ["echo/slow"])
    world.disturb(model)
    await world.admin("unload", model, force=True)
    return f"unload of {model}"


async def say_word(world: World, chance: Random) -> str:
    """A request that does something to its worker; a poisoned one is known after two crashes."""
    model, word = chance.choice(FAULTY), chance.choice(WORDS)
    world.disturb(model)
    client = await world.connect(KernelClient, "chaos-word")
    body = ChatRequest(
        messages=(ChatMessage(role="user", content=word),), max_tokens=chance.randrange(100, 10**6)
    )
    with contextlib.suppress(MlxdError, TimeoutError):
        async with asyncio.timeout(3), client.submit(task="chat", model=model, body=body) as answer:
            async for _ in answer:
                pass
    await client.close()
    return f"{word} to {model}"


async def flood(world: World, chance: Random) -> str:
    """More requests than the queue takes, then none of them is wanted any more."""
    world.disturb("echo/narrow")
    client = await world.connect(KernelClient, "chaos-flood")
    body = ChatRequest(messages=(ChatMessage(role="user", content="flood " * 20),))
    submitted = [client.submit(task="chat", model="echo/narrow", body=body) for _ in range(FLOOD)]
    await asyncio.sleep(chance.uniform(0, 1))
    for answer in submitted:
        answer.cancel()
    ends = asyncio.gather(*[_end_of(answer) for answer in submitted])
    try:
        async with asyncio.timeout(30):
            await ends
    except TimeoutError:
        raise Violation("requests of a flood have no end") from None
    finally:
        await client.close()
    return f"flood of {FLOOD}"


async def disconnect_storm(world: World, chance: Random) -> str:
    """Many streams are opened and reset."""

    async def come_and_go() -> None:
        body = {
            "model": "echo/slow",
            "messages": [{"role": "user", "content": "storm " * 50}],
            "stream": True,
        }
        with contextlib.suppress(OSError, EOFError):
            async with posted(world.url, "/v1/chat/completions", body) as reply:
                await asyncio.sleep(chance.uniform(0, 0.3))
                reply.reset()

    world.disturb("echo/slow")
    await asyncio.gather(*[come_and_go() for _ in range(STORM)])
    return f"storm of {STORM}"


async def garbage(world: World, chance: Random) -> str:
    """Bytes that are no HTTP, no ZeroMQ and no message, wherever something listens."""
    with contextlib.suppress(OSError), socket.socket() as http:
        http.setblocking(False)
        await asyncio.get_running_loop().sock_connect(http, ("127.0.0.1", world.port))
        await asyncio.get_running_loop().sock_sendall(http, chance.randbytes(2000))
    path = str(rundir.locate(world.home) / "kernel.sock")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as ipc:
        ipc.connect(path)
        ipc.sendall(chance.randbytes(2000))
    stranger = zmq.Context.instance().socket(zmq.DEALER)
    stranger.connect(f"ipc://{path}")
    for _ in range(50):
        frames = [chance.randbytes(chance.randrange(100)) for _ in range(chance.randrange(1, 6))]
        with contextlib.suppress(zmq.ZMQError):
            stranger.send_multipart(frames, zmq.NOBLOCK)
    await asyncio.sleep(0.1)
    stranger.close(0)
    return "garbage"


@dataclass(frozen=True)
class Fault:
    """A fault, and when it may be chosen."""

    do: Callable[[World, Random], Awaitable[str]]
    weight: int
    # It ends a process whose memory is watched in the second half.
    ends_watched: bool = False


FAULTS = (
    Fault(kill_worker, 8),
    Fault(kill_loading_worker, 3),
    Fault(freeze_worker, 1),
    Fault(pause_worker, 3),
    Fault(pause_kernel, 1),
    Fault(pause_frontend, 1),
    Fault(kill_frontend, 1, ends_watched=True),
    Fault(kill_decoder, 2),
    Fault(kill_kernel, 1, ends_watched=True),
    Fault(unload, 4),
    Fault(say_word, 6),
    Fault(flood, 2),
    Fault(disconnect_storm, 2),
    Fault(garbage, 2),
)


async def _victim(world: World, chance: Random) -> tuple[str, int]:
    """A model and the pid of its worker; the calm one is left in peace."""
    pids = {model: pid for model, pid in (await world.worker_pids()).items() if model != CALM}
    return chance.choice(sorted(pids.items())) if pids else ("", 0)


async def _pause(pid: int, pause_s: float) -> None:
    _send(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(pause_s)
    finally:
        _send(pid, signal.SIGCONT)


def _send(pid: int, sent: signal.Signals) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)


async def _end_of(answer: object) -> None:
    with contextlib.suppress(MlxdError):
        async for _ in answer:  # type: ignore[attr-defined]
            pass
