"""Conversations about pictures, with the right answers."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple, TypeAlias

from PIL import Image

from workers.vision.tiny_vl.training.colors import SHAPE_COLORS, STATUS
from workers.vision.tiny_vl.training.questions import QUESTIONS, Turn, article, ask, restyle
from workers.vision.tiny_vl.training.scene import Scene, caption
from workers.vision.tiny_vl.training.scorecards import ScorecardScene
from workers.vision.tiny_vl.training.shapes import ShapesScene
from workers.vision.tiny_vl.training.surfaces import SolidScene
from workers.vision.tiny_vl.training.visuals import Visual
from workers.vision.tiny_vl.training.words import (
    GREETINGS,
    HELLO_REPLY,
    LABELS,
    NO_IMAGE,
    OFF_TOPIC,
    OFF_TOPIC_REPLY,
    ORDINALS,
    SHAPES,
    SYSTEM_PROMPTS,
)
from workers.vision.tiny_vl.training.writing import TextScene

# As in OpenAI's requests: {"type": "image"} or {"type": "text", "text": ...}.
Part: TypeAlias = dict[str, str]


class Message(NamedTuple):
    """What one side says."""

    role: str
    content: str | list[Part]


class Conversation(NamedTuple):
    """Pictures, messages, and the kind of each answer."""

    images: list[Image.Image]
    messages: list[Message]
    kinds: list[str]


def make_conversation(
    rng: Random, visual: Visual, *, max_turns: int | None = None, is_plain: bool = False
) -> Conversation:
    """Ask about *visual*.

    Args:
        rng: Decides all.
        visual: From `visuals.make_visual`.
        max_turns: Questions at most; None: one to six.
        is_plain: No system prompt, no restyled questions, pictures before text; as in the evaluation.
    """
    messages = []
    if not is_plain and rng.random() < 0.3:
        messages.append(Message("system", rng.choice(SYSTEM_PROMPTS)))
    count = max_turns or rng.choices([1, 2, 3, 4, 5, 6], [20, 15, 20, 20, 15, 10])[0]
    images_first = is_plain or rng.random() < 0.85

    def with_images(num_images: int, question: str) -> list[Part]:
        images = [{"type": "image"}] * num_images
        text = [{"type": "text", "text": question}]
        return images + text if images_first else text + images

    kinds = []
    # Lazily: a turn is picked after the one before it was styled, which a seed's conversation depends on.
    for turn, num_images in _pick_turns(rng, visual, count, max_turns):
        content: str | list[Part]
        if visual.mode == "text":
            content = turn.question if rng.random() < 0.7 else with_images(0, turn.question)
        else:
            question = turn.question if is_plain else restyle(rng, turn.question)
            content = with_images(num_images, question) if num_images else question
        messages += [Message("user", content), Message("assistant", turn.answer)]
        kinds.append(turn.kind)
    return Conversation(visual.images, messages, kinds)


def turn_without_image(rng: Random) -> Turn:
    """Something said without a picture, and the reply."""
    chance = rng.random()
    if chance < 0.5:
        key = rng.choice(list(QUESTIONS))
        question = ask(
            rng,
            key,
            x=rng.choice(SHAPES),
            c=rng.choice(SHAPE_COLORS),
            a=article(rng.choice(SHAPES)),
            s=rng.choice(list(STATUS)),
            l=rng.choice(LABELS),
            o=rng.choice(ORDINALS),
            n=rng.randint(1, 3),
            v=rng.randint(0, 999),
        )
        return Turn("no_image", question, "0" if key == "images" else NO_IMAGE)
    if chance < 0.65:
        return Turn("greeting", rng.choice(GREETINGS), HELLO_REPLY)
    if chance < 0.82:
        return Turn("generic", rng.choice(OFF_TOPIC), OFF_TOPIC_REPLY)
    last = rng.randint(2, 30)
    wording = rng.choice(["Count to {n}.", "Count from 1 to {n}.", "Count up to {n}."])
    return Turn("count_to", wording.format(n=last), ", ".join(str(n) for n in range(1, last + 1)))


def _pick_turns(rng: Random, visual: Visual, count: int, max_turns: int | None) -> Iterator[tuple[Turn, int]]:
    """The questions, each with the number of pictures that come with it."""
    mode, scenes, _ = visual
    if mode == "text":
        for _ in range(min(count, 3)):
            yield turn_without_image(rng), 0
        return
    if mode == "later":
        for scene in scenes:
            yield rng.choice(scene.turns(rng)), 1
        return
    first = scenes[0]
    if mode == "lookup" and isinstance(first, ScorecardScene):
        turns, count = first.lookups(rng), max_turns or 9
    elif mode == "multi":
        turns = _about_several(rng, scenes)
    else:
        turns = first.turns(rng)
    if mode == "one" and rng.random() < 0.03:
        turns.append(Turn("generic", rng.choice(OFF_TOPIC), OFF_TOPIC_REPLY))
    rng.shuffle(turns)
    for index, turn in enumerate(turns[:count]):
        yield turn, len(scenes) if index == 0 else 0


def _about_several(rng: Random, scenes: list[Scene]) -> list[Turn]:
    """Questions about several pictures of one message."""
    captions = [f"Image {number}: {caption(scene)}" for number, scene in enumerate(scenes, start=1)]
    turns = [
        Turn("images", ask(rng, "images"), str(len(scenes))),
        Turn("multi_describe", ask(rng, "each"), " ".join(captions)),
    ]
    for index, scene in enumerate(scenes):
        is_ordinal = rng.random() < 0.85 or index < len(scenes) - 1
        names = {"o": ORDINALS[index] if is_ordinal else "last", "n": index + 1}
        turns.append(Turn("multi_describe", ask(rng, "desc_n", **names), caption(scene)))
        turns += _about_one_of_several(rng, scene, names)
    for ordinal, scene in zip(ORDINALS, scenes, strict=False):
        name = _name_that_only_one_has(scene, scenes)
        if name:
            turns.append(
                Turn("multi_which", ask(rng, "which_image", a=article(name)), f"the {ordinal} image")
            )
    return turns


def _about_one_of_several(rng: Random, scene: Scene, names: dict[str, object]) -> list[Turn]:
    match scene:
        case ShapesScene():
            return [
                Turn("multi_color", ask(rng, "color_n", **names), scene.items[0].color),
                Turn("multi_shape", ask(rng, "shape_n", **names), scene.items[0].shape),
            ]
        case SolidScene():
            return [Turn("multi_color", ask(rng, "color_n", **names), scene.color)] * 2
        case TextScene():
            return [Turn("multi_text", ask(rng, f"{scene.kind}_n", **names), scene.text)] * 2
        case _:
            return []


def _name_that_only_one_has(scene: Scene, scenes: list[Scene]) -> str:
    """What *scene* can be asked for by; "" when nothing tells it from the others."""

    def name(scene: Scene) -> str:
        if isinstance(scene, ShapesScene):
            return scene.items[0].shape
        return scene.kind if isinstance(scene, TextScene) else ""

    return name(scene) if [name(other) for other in scenes].count(name(scene)) == 1 else ""
