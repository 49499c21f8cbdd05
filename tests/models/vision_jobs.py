"""Requests with pictures, as an engine gets them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from engine_host import Job
from PIL import Image as Pillow

from transports.messages import (
    ChatMessage,
    ChatRequest,
    ContentPart,
    FramePixels,
    Image,
    ImagePart,
    Sampling,
    TextPart,
)

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
