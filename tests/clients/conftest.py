"""SDK tests use the HTTP frontend with a kernel played by the test, as the contract tests do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
