"""Makes the tokenizer: byte-level BPE on what is asked and answered, and a little English."""

from __future__ import annotations

import json
import pydoc_data.topics
import re
from pathlib import Path
from random import Random

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers.models import BPE

from workers.vision.tiny_vl.training.conversations import turn_without_image
from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.questions import QUESTIONS
from workers.vision.tiny_vl.training.shapes import REGIONS, ShapesScene
from workers.vision.tiny_vl.training.visuals import make_scene
from workers.vision.tiny_vl.training.words import (
    HELLO_REPLY,
    LABELS,
    NO_IMAGE,
    NOT_SURE,
    OFF_TOPIC,
    OFF_TOPIC_REPLY,
    SUFFIXES,
    SYSTEM_PROMPTS,
)

SEED = 7
NUM_SCENES = 6000
# Of Python's own help, so that unseen prompts are not cut into bytes.
ENGLISH_LINES = 6000
VOCABULARY = 1024
SPECIAL = tuple(
    f"<|{name}|>"
    for name in (
        *("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end"),
        *("quad_start", "quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"),
    )
)
PLAIN = ("<tool_call>", "</tool_call>")
# Qwen2's.
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def corpus(fonts: Fonts) -> list[str]:
    """What the tokenizer learns from."""
    rng = Random(SEED)
    lines = []
    for _ in range(NUM_SCENES):
        scene = make_scene(rng, fonts)
        if isinstance(scene, ShapesScene):
            # As if it had been drawn.
            scene.region = rng.choice([region for row in REGIONS for region in row])
            grid = rng.choice([(1, 2), (2, 1), (1, 1)])
            scene.grid = {1: None, 2: grid}.get(scene.count, (2, 2))
        for turn in scene.turns(rng):
            lines += [turn.question, turn.answer]
        lines += ["system\nYou are a helpful assistant.", "user\n", "assistant\n"]
        turn = turn_without_image(rng)
        lines += [turn.question, turn.answer]
    for wordings in QUESTIONS.values():
        lines += [re.sub(r"\{\w\}", "x", wording) for wording in wordings] * 60
    lines += SYSTEM_PROMPTS * 40 + OFF_TOPIC * 40
    lines += [NO_IMAGE, HELLO_REPLY, OFF_TOPIC_REPLY, NOT_SURE] * 200 + SUFFIXES * 60
    # Labels become whole tokens, with and without a space in front.
    lines += [line for label in LABELS for line in (label, f" {label}")] * 60
    english = Path(pydoc_data.topics.__file__).read_text(encoding="utf-8")
    lines += [line for line in english.replace("\\n", "\n").split("\n")[:ENGLISH_LINES] if line.strip()]
    # Words in capitals stay single letters, so that the model reads them letter by letter.
    return [re.sub(r"[A-Z]{2,}", " ", line) for line in lines]


def make_tokenizer(fonts: Fonts) -> Tokenizer:
    """Train it; the result depends on the Python release through its help texts."""
    tokenizer = Tokenizer(BPE(unk_token=None))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRE_TOKENIZER), behavior="isolated", invert=False)
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(PLAIN),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(fonts), trainer)
    tokenizer.post_processor = processors.ByteLevel(
        trim_offsets=False, add_prefix_space=False, use_regex=False
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN])
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise ValueError(f"vocabulary: expected {VOCABULARY} tokens, got {tokenizer.get_vocab_size()}")
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, out: Path) -> None:
    """Write it in the new form and in the old one."""
    tokenizer.save(str(out / "tokenizer.json"))
    model = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (out / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (out / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
