"""What wants thoughts of a model that has none is refused before anything is loaded."""

from __future__ import annotations

import pytest

from plugins.cli.generation import chat_request
from plugins.thinking_models import check_thinks
from transports.errors import TaskNotSupported
from transports.messages import ChatMessage
from transports.reports import ModelInfo

MESSAGES = (ChatMessage(role="user", content="Why?"),)


class Kernel:
    """A kernel that knows two models."""

    async def models(self) -> tuple[ModelInfo, ...]:
        thinks = ModelInfo(
            name="thinks", kind="text", state="ready", source="folder", capabilities=("reasoning",)
        )
        return thinks, ModelInfo(name="talks", kind="text", state="ready", source="folder")


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("talks", {}),
        ("talks", {"reasoning_effort": "none"}),
        ("talks", {"reasoning_effort": "minimal"}),
        ("talks", {"thinking_budget": 5}),
        ("thinks", {"reasoning_effort": "high"}),
        ("unknown", {"reasoning_effort": "high"}),
    ],
)
async def test_what_a_model_can_obey_is_let_through(model: str, options: dict[str, object]) -> None:
    await check_thinks(Kernel(), model, chat_request(MESSAGES, options))


async def test_an_effort_of_a_model_that_never_thinks_is_refused() -> None:
    request = chat_request(MESSAGES, {"reasoning_effort": "low"})

    with pytest.raises(TaskNotSupported, match=r"^reasoning_effort: talks never thinks") as caught:
        await check_thinks(Kernel(), "talks", request)
    assert caught.value.param == "reasoning_effort"
