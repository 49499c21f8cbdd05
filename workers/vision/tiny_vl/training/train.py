"""Trains the model on one GPU for a number of seconds; pictures are drawn meanwhile by other processes.

    python -m workers.vision.tiny_vl.training.train --fonts FOLDER --seconds 540 --out FOLDER
    python -m workers.vision.tiny_vl.training.train --fonts FOLDER --seconds 95 --resume FOLDER --out OTHER \\
        --muon-rate 1.5e-3 --adam-rate 7e-4 --warmup-steps 60 --decay 0.4 --lookups 0.5
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from workers.vision.tiny_vl.training.batches import MAX_COUNTED_TURNS, Batch, Bucket, Conversations, loader
from workers.vision.tiny_vl.training.encode import KINDS
from workers.vision.tiny_vl.training.muon import Muon
from workers.vision.tiny_vl.training.network import TinyQwenVL
from workers.vision.tiny_vl.training.paths import MODEL

# Batches kept on the device, from which conversations are taken in random order.
POOL = 12
CONVERSATIONS_PER_VISUAL = 3
# Answers of a conversation; more than any has.
MAX_TURNS = 128
MAX_GRADIENT_NORM = 1.0
REPORT_STEPS = 250
EVALUATION_SEED = 990001
# Exact weights, to go on from; the other is what is served.
CHECKPOINT, WEIGHTS = "float32.safetensors", "model.safetensors"


class Answers(NamedTuple):
    """The tokens of all answers of a batch, one after another."""

    hidden: Tensor
    targets: Tensor
    # Of each token: its conversation in the batch, and its answer in the conversation.
    rows: Tensor
    turns: Tensor


class Pool:
    """Batches on the device; each has several conversations about the same pictures."""

    def __init__(self, batches: Conversations, options: argparse.Namespace) -> None:
        pinned = options.device == "cuda"
        self._source = iter(loader(batches, options.processes, is_pinned=pinned))
        self._device = options.device
        self._held: list[tuple[Batch, list[int]]] = []
        self._rng = Random(0)

    def next(self) -> tuple[Batch, int]:
        """A batch, and which of its conversations is due."""
        if len(self._held) < POOL:
            batch = to_device(next(self._source), self._device)
            self._held.append((batch, list(range(CONVERSATIONS_PER_VISUAL))))
        index = self._rng.randrange(len(self._held))
        batch, left = self._held[index]
        conversation = left.pop(0)
        if not left:
            self._held.pop(index)
        return batch, conversation


class Trainer:
    """The model, its two optimizers and their schedule."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        torch.manual_seed(options.seed)
        torch.backends.cuda.matmul.allow_tf32 = True
        self.model = TinyQwenVL(json.loads((MODEL / "config.json").read_text())).to(options.device)
        if options.resume:
            self.model.load_state_dict(load_file(options.resume / CHECKPOINT))
        if options.device == "cuda":
            for block in [*self.model.visual.blocks, *self.model.model.layers, self.model.visual.merger]:
                block.compile(dynamic=False)
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        vectors: list[Tensor] = []
        for name, parameter in self.model.named_parameters():
            if parameter.dim() == 2 and "embed_tokens" not in name:
                matrices.append(parameter)
            else:
                (others if parameter.dim() > 1 else vectors).append(parameter)
        self._muon = Muon(matrices, options.weight_decay)
        groups = [{"params": others, "weight_decay": options.weight_decay}]
        groups.append({"params": vectors, "weight_decay": 0.0})
        self._adam = torch.optim.AdamW(groups, lr=options.adam_rate, betas=(0.9, 0.98), eps=1e-8)
        self.step_count = 0

    def step(self, batch: Batch, conversation: int, elapsed: float) -> float:
        """One update at *elapsed*, a share of the time, [0, 1); the loss."""
        with torch.autocast(self._options.device, torch.bfloat16):
            answers = self.answers(batch, conversation)
            loss = self._loss(answers, batch["ids"].shape[1])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        rate = self._rate(elapsed)
        for group in self._adam.param_groups:
            group["lr"] = self._options.adam_rate * rate
        self._muon.step(self._options.muon_rate * rate)
        self._adam.step()
        self.model.zero_grad(set_to_none=True)
        self.step_count += 1
        return loss.item() if self.step_count % 10 == 0 else math.nan

    def answers(self, batch: Batch, conversation: int) -> Answers:
        """Run the model on a conversation of each row."""
        ids, turns = batch["ids"][conversation].long(), batch["turns"][conversation]
        vision = (batch["patches"], batch["places"], batch["images"], batch["windows"])
        hidden = self.model(ids, batch["positions"][conversation], *vision)
        is_answer = turns[:, 1:] >= 0
        rows = torch.arange(ids.shape[0], device=ids.device)[:, None].expand_as(is_answer)
        return Answers(
            hidden=hidden[:, :-1][is_answer],
            targets=ids[:, 1:][is_answer],
            rows=rows[is_answer],
            turns=turns[:, 1:][is_answer].long(),
        )

    def _loss(self, answers: Answers, num_rows: int) -> Tensor:
        """Cross entropy; a token of a long answer counts less, a long answer more than a short one."""
        logits = self.model.logits(answers.hidden).float()
        losses = functional.cross_entropy(logits, answers.targets, reduction="none")
        lengths = torch.zeros(num_rows, MAX_TURNS, device=losses.device)
        place = (answers.rows, answers.turns)
        lengths.index_put_(place, torch.ones_like(losses), accumulate=True)
        weights = lengths[place].rsqrt()
        return (losses * weights).sum() / weights.sum()

    def _rate(self, elapsed: float) -> float:
        """Linear warm-up by steps, linear decay by time."""
        decay = self._options.decay
        cooled = 1.0 if elapsed < 1 - decay else max(0.0, (1 - elapsed) / decay)
        return min(1.0, (self.step_count + 1) / self._options.warmup_steps) * cooled


def to_device(batch: Batch, device: str) -> Batch:
    """Copy the tensors of a batch."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }


@torch.no_grad()
def exact_match(trainer: Trainer, batches: Conversations, options: argparse.Namespace) -> dict[str, float]:
    """The share of whole answers that are right, by kind; each token is predicted from the right ones."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for batch in loader(batches, options.processes, is_pinned=False):
        on_device = to_device(batch, options.device)
        # Without compiling for the sizes of the last batches.
        with torch.compiler.set_stance("force_eager"), torch.autocast(options.device, torch.bfloat16):
            answers = trainer.answers(on_device, 0)
            is_wrong = trainer.model.logits(answers.hidden).argmax(-1) != answers.targets
        wrong = torch.zeros(batch["ids"].shape[1], MAX_TURNS, device=is_wrong.device)
        wrong.index_put_((answers.rows, answers.turns), is_wrong.float(), accumulate=True)
        for kinds, errors in zip(
            batch["kinds"][0].tolist(), wrong[:, :MAX_COUNTED_TURNS].tolist(), strict=True
        ):
            for kind, count in zip(kinds, errors, strict=True):
                if kind >= 0:
                    asked[KINDS[kind]] += 1
                    right[KINDS[kind]] += count == 0
    return {"all": right.total() / asked.total()} | {kind: right[kind] / asked[kind] for kind in asked}


def save(model: TinyQwenVL, out: Path) -> None:
    """Write the exact weights and those that are served; round the model's to the latter."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().float().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, out / CHECKPOINT, {"format": "pt"})
    served = {name: value.bfloat16() for name, value in weights.items()}
    save_file(served, out / WEIGHTS, {"format": "pt"})
    model.load_state_dict({name: value.float() for name, value in served.items()})


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--resume", type=Path, help="folder of a run to go on from")
    parser.add_argument("--fonts", type=Path, help="folder of font files; default: Pillow's own font alone")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--muon-rate", type=float, default=2e-3)
    parser.add_argument("--adam-rate", type=float, default=1.5e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--warmup-steps", type=int, default=200)
    parser.add_argument("--decay", type=float, default=0.5, help="share of the time with a falling rate")
    parser.add_argument("--lookups", type=float, default=0.0, help="share of cards asked for rows only")
    parser.add_argument("--batch-small", type=int, default=512, help="conversations of <= 64 image tokens")
    parser.add_argument("--batch-large", type=int, default=224, help="conversations of <= 144 image tokens")
    parser.add_argument("--processes", type=int, default=15, help="that draw pictures")
    parser.add_argument("--evaluate", type=int, default=8000, help="pictures of the evaluation at the end")
    parser.add_argument("--device", default="cuda")
    return parser.parse_args()


def main() -> None:
    """Train, save, evaluate."""
    options = parse_options()
    start_s = time.monotonic()
    buckets = (Bucket("small", 64, 208, options.batch_small), Bucket("large", 144, 288, options.batch_large))
    fonts = (options.fonts, False)
    drawn = Conversations(
        options.seed,
        buckets,
        fonts,
        per_visual=CONVERSATIONS_PER_VISUAL,
        lookup_share=options.lookups,
    )
    # Before CUDA starts: the drawing processes are forks.
    pool = Pool(drawn, options)
    trainer = Trainer(options)
    while (elapsed := (time.monotonic() - start_s) / options.seconds) < 1:
        loss = trainer.step(*pool.next(), elapsed)
        if math.isinf(loss):
            raise SystemExit(f"step {trainer.step_count}: the loss is infinite")
        if trainer.step_count % REPORT_STEPS == 0:
            print(f"step {trainer.step_count} {elapsed:.0%} loss {loss:.4f}", flush=True)
    print(f"{trainer.step_count} steps in {time.monotonic() - start_s:.0f} s", flush=True)
    del pool
    save(trainer.model, options.out)
    evaluated = Conversations(EVALUATION_SEED, buckets, fonts, limit=options.evaluate)
    for kind, share in sorted(exact_match(trainer, evaluated, options).items()):
        print(f"{kind} {share:.1%}")


if __name__ == "__main__":
    main()
