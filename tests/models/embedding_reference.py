"""Makes embedding_reference.json: what sentence-transformers computes of the models that the tests ask.

Not run by the tests. In an environment with torch and sentence-transformers:

    python tests/models/embedding_reference.py FOLDER_OF_ALL_MINILM_L6_V2
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from sentence_transformers import CrossEncoder, SentenceTransformer
from tiny_encoders import CONFIGS, POOLINGS, make

TARGET = Path(__file__).with_suffix(".json")
DIGITS = 6
TEXTS = [
    "A cat sits on the mat.",
    "There is a feline on the rug.",
    "The stock market fell by three percent today.",
    "Der Aktienmarkt ist heute um drei Prozent gefallen.",
    "x",
    "MLX is an array framework for machine learning on Apple silicon. " * 12,
]
TINY_TEXTS = ["the red fish", "a big dog eats a small fish in the house", "blue", "the unknown"]
PAIRS = [
    ("red fish", "the fish eats"),
    ("red fish", "a dog sees the big blue house on the green"),
    ("a", "a"),
]


def main() -> None:
    """Write the file."""
    minilm = SentenceTransformer(sys.argv[1], device="cpu")
    tiny: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in CONFIGS:
            path = str(make(Path(folder), name))
            if name in POOLINGS:
                model = SentenceTransformer(path, device="cpu")
                tiny[name] = _rounded(model.encode(TINY_TEXTS))
            else:
                scores = CrossEncoder(path, device="cpu").predict(PAIRS)
                tiny[name] = _rounded(scores.reshape(-1, 1))
    content = {
        "made_with": {name: version(name) for name in ("sentence-transformers", "transformers", "torch")},
        "texts": TEXTS,
        "all-minilm-l6-v2": _rounded(minilm.encode(TEXTS)),
        "tiny_texts": TINY_TEXTS,
        "pairs": PAIRS,
        "tiny": tiny,
    }
    TARGET.write_text(json.dumps(content, indent=1) + "\n")


# Any: numpy arrays.
def _rounded(rows) -> list[list[float]]:  # type: ignore[no-untyped-def]
    return [[round(float(number), DIGITS) for number in row] for row in rows]


if __name__ == "__main__":
    main()
