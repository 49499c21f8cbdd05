"""What a model is capable of is asked once, and again for those that are not."""

from __future__ import annotations

import pytest

from plugins.capable_models import CapableModels
from transports.reports import ModelInfo


class Kernel:
    """A kernel that knows three models."""

    num_asked = 0

    async def models(self) -> tuple[ModelInfo, ...]:
        self.num_asked += 1
        calls = ModelInfo(name="calls", kind="text", state="ready", source="folder", capabilities=("tools",))
        talks = ModelInfo(name="talks", kind="text", state="ready", source="folder")
        return calls, talks, ModelInfo(name="broken", kind="", state="failed", source="folder")


@pytest.mark.parametrize(
    ("model", "expected", "num_asked"),
    [("calls", True, 1), ("talks", False, 2), ("unknown", True, 2), ("broken", True, 2)],
)
async def test_files_say_who_calls(model: str, expected: bool, num_asked: int) -> None:
    known, kernel = CapableModels("tools"), Kernel()

    assert [expected, expected] == [await known.can(kernel, model) for _ in range(2)]
    assert num_asked == kernel.num_asked
