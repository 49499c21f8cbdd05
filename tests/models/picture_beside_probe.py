"""A vision engine whose second thread is held while it looks, in the vision worker's environment.

Takes the folder of a model; prints a line of JSON with what came of each request of each scenario.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from prompt_reader_probe import LIMIT_S, Hold, Run

from transports import logs
from transports.messages import (
    ChatMessage,
    ChatRequest,
    Done,
    FramePixels,
    Image,
    ImagePart,
    Sampling,
    TextPart,
)
from workers.vision.loading import load
from workers.vision.model import VisionModel

SIDE = 112


def look(run: Run, request_id: str, colour: int, max_tokens: int) -> None:
    """Ask about a picture of one colour."""
    pixels = bytes([colour]) * (SIDE * SIDE * 3)
    image = Image(
        width=SIDE, height=SIDE, digest=hashlib.sha256(pixels).digest(), pixels=FramePixels(buffer=0)
    )
    content = (ImagePart(image=0), TextPart(text="What is it?"))
    body = ChatRequest(
        messages=(ChatMessage(role="user", content=content),),
        images=(image,),
        max_tokens=max_tokens,
        sampling=Sampling(temperature=0),
        ignore_eos=True,
    )
    run.ask(request_id, "chat", body, [memoryview(pixels)])


def main(folder: Path) -> None:
    """Play all scenarios."""
    # Stdout is for the report.
    logs.configure("error", "text", "probe")
    # Nothing is kept: each request has its picture looked at and its prompt read.
    settings = {"image_cache_bytes": 0, "prompt_cache_bytes": 0}
    engine = load(folder, settings, lambda progress: None)
    hold = Hold(VisionModel, "see")
    told: dict[str, Any] = {}

    def beside() -> Run:
        """A row decodes, and the picture of another one is being looked at."""
        run = Run(engine)
        hold.is_open.set()
        look(run, "a-running", 10, 60)
        run.until(lambda: run.num_deltas("a-running") > 0)
        hold.close()
        look(run, "b-looking", 200, 8)
        run.step()
        assert hold.has_come.wait(LIMIT_S)
        return run

    alone = Run(engine)
    look(alone, "a-running", 10, 60)
    alone.drain()
    look(alone, "b-looking", 200, 8)
    told["alone"] = alone.drain()

    run = beside()
    before = engine.progress()
    for _ in range(10):
        run.step()
    told["progress of 10 steps"] = engine.progress() - before
    hold.is_open.set()
    told["together"] = run.drain()

    run = beside()
    run.note(engine.cancel("b-looking"))
    told["left at once"] = isinstance(run.outputs["b-looking"][-1], Done)
    hold.is_open.set()
    told["cancelled"] = run.drain()

    run = beside()
    hold.error = RuntimeError("it cannot be seen")
    hold.is_open.set()
    told["failed"] = run.drain()
    engine.close()
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
