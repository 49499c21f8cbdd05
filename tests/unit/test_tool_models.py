"""Which models call tools is asked once, and again for those that do not."""

from __future__ import annotations

import pytest

from plugins.tool_models import ToolModels
from transports.reports import ModelInfo


class Kernel:
    """A kernel that knows two models."""

    num_asked = 0

    async def models(self) -> tuple[ModelInfo, ...]:
        self.num_asked += 1
        calls = ModelInfo(name="calls", kind="text", state="ready", source="folder", capabilities=("tools",))
        return calls, ModelInfo(name="talks", kind="text", state="ready", source="folder")


@pytest.mark.parametrize(
    ("model", "expected", "num_asked"), [("calls", True, 1), ("talks", False, 2), ("unknown", True, 2)]
)
async def test_files_say_who_calls(model: str, expected: bool, num_asked: int) -> None:
    known, kernel = ToolModels(), Kernel()

    assert [expected, expected] == [await known.can_call(kernel, model) for _ in range(2)]
    assert num_asked == kernel.num_asked
