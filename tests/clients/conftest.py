"""SDK tests use the HTTP frontend with a kernel played by the test; or real processes."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("contract", "process"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
