"""Requests with pictures, as an engine gets them, and what mlx-vlm alone says to them."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from engine_host import Job, Report
from PIL import Image as Pillow

from transports.messages import (
    ChatMessage,
    ChatRequest,
    ContentPart,
    Delta,
    FramePixels,
    Image,
    ImagePart,
    Sampling,
    TextPart,
)

ROOT = Path(__file__).resolve().parents[2]
GREEDY = Sampling(temperature=0)
# A turn: text and pictures in their order.
Turn = Sequence[str | Pillow.Image]


def job(job_id: str, *turns: Turn, **fields: object) -> Job:
    """A conversation of user and assistant in turn; keyword arguments are fields of ChatRequest or Job."""
    images: list[Image] = []
    buffers: list[bytes] = []

    def part(content: str | Pillow.Image) -> ContentPart:
        if isinstance(content, str):
            return TextPart(text=content)
        pixels = content.tobytes()
        digest = hashlib.sha256(b"RGB" + struct.pack("<II", *content.size) + pixels).digest()
        frame = FramePixels(buffer=len(buffers))
        images.append(Image(width=content.width, height=content.height, digest=digest, pixels=frame))
        buffers.append(pixels)
        return ImagePart(image=len(images) - 1)

    messages = tuple(
        ChatMessage(role="assistant" if at % 2 else "user", content=tuple(map(part, turn)))
        for at, turn in enumerate(turns)
    )
    when = {name: fields.pop(name) for name in ("add_at", "cancel_at") if name in fields}
    request = ChatRequest(
        **{"messages": messages, "images": tuple(images), "sampling": GREEDY, "max_tokens": 40} | fields  # type: ignore[arg-type]
    )
    return Job(id=job_id, chat=request, buffers=tuple(buffers), **when)  # type: ignore[arg-type]


def run_script(python: str, name: str, *arguments: object, stdin: bytes = b"") -> bytes:
    """What a script of this folder says, run with the Python of the vision environment."""
    command = [python, "-P", str(Path(__file__).with_name(name)), *map(str, arguments)]
    env = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]}
    result = subprocess.run(command, input=stdin, env=env, capture_output=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    return result.stdout


def library_tokens(python: str, models: Sequence[Path], asked: Sequence[Turn]) -> list[dict[str, Any]]:
    """What mlx-vlm says with each model to each turn, pictures first and one text last."""
    lines = [
        {"model": str(model), "images": [(one.size, one.tobytes()) for one in images], "question": question}  # type: ignore[union-attr]
        for model in models
        for *images, question in asked
    ]
    said = run_script(python, "vision_probe.py", stdin=b"\n".join(map(msgspec.json.encode, lines)))
    return [json.loads(line) for line in said.splitlines()]


def engine_tokens(report: Report, job_id: str) -> dict[str, Any]:
    """The same of a job that asked for logprobs."""
    deltas = [one for _, one in report.of(job_id) if isinstance(one, Delta)]
    tokens = [one.token_bytes.hex() for delta in deltas for one in delta.logprobs]
    return {"tokens": tokens, "prompt_tokens": report.done(job_id).usage.prompt_tokens}
