"""Pictures of small scorecards: rows of label, value and a red, amber or green status."""

from __future__ import annotations

import json
from random import Random
from typing import NamedTuple

from PIL import Image

from workers.vision.tiny_vl.training.colors import STATUS
from workers.vision.tiny_vl.training.fonts import Fonts
from workers.vision.tiny_vl.training.questions import Turn, ask, yes_or_no
from workers.vision.tiny_vl.training.scene import Description, caption
from workers.vision.tiny_vl.training.scorecard_drawing import ScorecardDrawing
from workers.vision.tiny_vl.training.words import LABELS, ORDINALS, TITLES


class Row(NamedTuple):
    """One row."""

    label: str
    value: str
    status: str


class ScorecardScene:
    """A scorecard of two to four rows."""

    kind = "scorecard"

    def __init__(self, rng: Random, fonts: Fonts, count: int | None = None) -> None:
        self._fonts = fonts
        count = count or rng.choice([2, 3, 3, 4, 4])
        labels = rng.sample(LABELS, count)
        self.title = rng.choice(TITLES) if rng.random() < 0.4 else None
        is_percent = rng.random() < 0.35
        self.rows: list[Row] = []
        for label in labels:
            is_small = is_percent or rng.random() < 0.5
            value = rng.randint(0, 100) if is_small else rng.randint(0, 999)
            status = rng.choice(["red", "amber", "green", "green"])
            self.rows.append(Row(label, f"{value}%" if is_percent else str(value), status))
        self.font = rng.choice(fonts.names)
        self.title_font = rng.choice(fonts.names) if rng.random() < 0.3 else self.font

    def pick_size(self, rng: Random) -> tuple[int, int]:
        """A width, and a height that gives each row enough."""
        lines = len(self.rows) + (1 if self.title else 0)
        width = rng.randint(196, 392)
        return width, int(lines * rng.uniform(26, 48) + rng.randint(6, 30))

    def render(self, rng: Random, width: int, height: int) -> Image.Image:
        drawing = ScorecardDrawing(
            rng,
            (width, height),
            rows=self.rows,
            title=self.title,
            font=lambda size: self._fonts.get(self.font, size),
            title_font=lambda size: self._fonts.get(self.title_font, size),
        )
        return drawing.finish()

    def phrase(self) -> str:
        return "a scorecard with " + ", ".join(" ".join(row) for row in self.rows)

    def as_json(self) -> Description:
        return {"kind": "scorecard", "rows": [row._asdict() for row in self.rows]}

    def turns(self, rng: Random) -> list[Turn]:
        labels = [row.label for row in self.rows]
        statuses = [row.status for row in self.rows]
        turns = [
            Turn("describe_card", ask(rng, "describe"), caption(self)),
            Turn("rows", ask(rng, "rows"), str(len(self.rows))),
        ]
        for _ in range(2):
            status = rng.choice(statuses) if rng.random() < 0.8 else rng.choice(list(STATUS))
            found = [row.label for row in self.rows if row.status == status]
            turns.append(Turn("which_row", ask(rng, "which_row", s=status), ", ".join(found) or "none"))
        for _ in range(2):
            row = rng.choice(self.rows)
            turns.append(Turn("value", ask(rng, "value", l=row.label), row.value))
        for _ in range(2):
            row = rng.choice(self.rows)
            turns.append(Turn("status", ask(rng, "status", l=row.label), row.status))
        status = rng.choice(list(STATUS))
        turns.append(Turn("rows", ask(rng, "rows_s", s=status), str(statuses.count(status))))
        turns.append(Turn("yesno", ask(rng, "allgreen"), yes_or_no(set(statuses) == {"green"})))
        turns.append(Turn("labels", ask(rng, "labels"), ", ".join(labels)))
        index = rng.randrange(len(self.rows))
        turns.append(Turn("labels", ask(rng, "first_row", o=ORDINALS[index]), labels[index]))
        if rng.random() < 0.5:
            turns.append(Turn("json_card", ask(rng, "json"), json.dumps(self.as_json())))
        if rng.random() < 0.15:
            label = self._pick_absent_label(rng)
            question = ask(rng, rng.choice(["value", "status"]), l=label)
            turns.append(Turn("absent", question, f"There is no {label}."))
        return turns + rng.sample(self.lookups(rng), 2)

    def lookups(self, rng: Random) -> list[Turn]:
        """Questions for which a row must be found by its label or its value."""
        turns = []
        values = [row.value for row in self.rows]
        for ordinal, (label, value, status) in zip(ORDINALS, self.rows, strict=False):
            turns.append(Turn("value", ask(rng, "value", l=label), value))
            turns.append(Turn("status", ask(rng, "status", l=label), status))
            turns.append(Turn("row_index", ask(rng, "row_index", l=label), f"the {ordinal} row"))
            asked = label if rng.random() < 0.5 else self._pick_absent_label(rng)
            is_there = yes_or_no(asked == label)
            turns.append(Turn("row_exists", ask(rng, "row_exists", l=asked), is_there))
            if values.count(value) == 1:
                turns.append(Turn("value_row", ask(rng, "value_row", v=value), label))
        return turns

    def _pick_absent_label(self, rng: Random) -> str:
        present = {row.label for row in self.rows}
        return rng.choice([label for label in LABELS if label not in present])
