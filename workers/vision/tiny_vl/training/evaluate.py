"""Measures the exact match of whole answers by kind of question, through mlx-vlm on pictures never seen.

Run in an environment with mlx-vlm, from the folder above `workers`:
    python -m workers.vision.tiny_vl.training.evaluate --fonts FOLDER --samples 400 --seed 424242
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import NamedTuple

from mlx_vlm import generate, load
from mlx_vlm.prompt_utils import apply_chat_template
from PIL import Image

from workers.vision.tiny_vl.training.conversations import make_conversation
from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.paths import MODEL
from workers.vision.tiny_vl.training.visuals import make_visual

# The longest answer, a scorecard as JSON, has about 150.
MAX_TOKENS = 200
LIBRARIES = ("mlx", "mlx-vlm", "transformers", "pillow")


class Sample(NamedTuple):
    """One question about one to three pictures."""

    images: list[Image.Image]
    kind: str
    question: str
    answer: str


def samples(rng: Random, fonts: Fonts, count: int) -> Iterator[Sample]:
    """Conversations of one turn, with pictures."""
    while count:
        visual = make_visual(rng, fonts, max_tokens=64 if rng.random() < 0.6 else 144)
        if not visual.images:
            continue
        conversation = make_conversation(rng, visual, max_turns=1, is_plain=True)
        asked, answered = conversation.messages[:2]
        question = asked.content if isinstance(asked.content, str) else asked.content[-1]["text"]
        # In "later" mode the second picture belongs to the second turn.
        images = conversation.images[:1] if visual.mode == "later" else conversation.images
        yield Sample(images, conversation.kinds[0], question, str(answered.content))
        count -= 1


def main() -> None:
    """Ask, compare, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODEL, help="default: the one beside this script")
    parser.add_argument("--fonts", type=Path, help="folder of font files; default: Pillow's own font alone")
    parser.add_argument("--held-out", action="store_true", help="only fonts that training never saw")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=424242)
    options = parser.parse_args()

    model, processor = load(str(options.model))
    fonts = Fonts(options.fonts, held_out=options.held_out)
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for sample in samples(Random(options.seed), fonts, options.samples):
        prompt = apply_chat_template(processor, model.config, sample.question, num_images=len(sample.images))
        answer = generate(
            model, processor, prompt, image=sample.images, max_tokens=MAX_TOKENS, temperature=0.0
        ).text
        asked[sample.kind] += 1
        right[sample.kind] += answer == sample.answer
        if answer != sample.answer:
            wrong = {"kind": sample.kind, "question": sample.question, "expected": sample.answer}
            print(json.dumps(wrong | {"got": answer}), file=sys.stderr, flush=True)

    print(f"seed {options.seed}, fonts: {', '.join(sorted(set(fonts.names)))}")
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    print("\n| kind | right | of | exact match |\n| --- | --- | --- | --- |")
    for kind, count in [*asked.most_common(), ("all", asked.total())]:
        hits = right.total() if kind == "all" else right[kind]
        print(f"| {kind} | {hits} | {count} | {hits / count:.1%} |")


if __name__ == "__main__":
    main()
