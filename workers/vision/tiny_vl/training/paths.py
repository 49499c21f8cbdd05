"""Where the model is."""

from __future__ import annotations

from pathlib import Path

# Weights, configuration and tokenizer, as they are served.
MODEL = Path(__file__).parents[1] / "model"
