"""Tools and thinking in the vision engine, with a model that was told of them by its template alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pictures
import pytest
from engine_host import Report, Run
from tool_examples import LOOK_PARAMETERS
from vision_jobs import job

from transports.messages import ChatMessage, ImagePart, Reasoning, ReasoningDelta, TextPart
from transports.tools import Tool, ToolCall, ToolCallBegin, ToolCallDelta, ToolChoice

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

RED_CIRCLE = pictures.shapes(("red", "circle"))
# As Qwen's, in short. "tool_call.name" is how mlx-lm knows the family.
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% for tool_call in m.tool_calls %}<tool_call>{{ tool_call.name or tool_call.function.name }}"
    "{{ tool_call.function.arguments | tojson }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}"
)
RENAMED = {"<|object_ref_start|>": "<think>", "<|object_ref_end|>": "</think>"}
LOOK = Tool(
    name="look",
    parameters=LOOK_PARAMETERS,
)
NAMED = {
    "tools": (LOOK, Tool(name="add")),
    "tool_choice": ToolChoice(mode="required", name="look"),
    "parallel_tool_calls": False,
}
NO_THINKING = Reasoning(enabled=False)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory, tiny_vl: Path) -> str:
    """The path of a model whose template shows tools and opens thoughts."""
    folder = tmp_path_factory.mktemp("models") / "caller"
    shutil.copytree(tiny_vl, folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (folder / name).read_text()
        for old, new in RENAMED.items():
            text = text.replace(f'"{old}"', f'"{new}"')
        (folder / name).write_text(text)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    return str(folder)


@pytest.fixture
def answers(look: Run, caller: str) -> Report:
    """All that is asked of the model, in one batch."""
    plain = job("plain", [RED_CIRCLE, "What color is the shape?"], reasoning=NO_THINKING)
    assert plain.chat is not None
    called = ChatMessage(
        role="assistant", content="", tool_calls=(ToolCall(id="1", name="look", arguments='{"at": "cat"}'),)
    )
    shown = ChatMessage(
        role="tool", tool_call_id="1", content=(TextPart(text="What color is the shape?"), ImagePart(image=0))
    )
    later = msgspec.structs.replace(
        plain.chat, messages=(ChatMessage(role="user", content="Look."), called, shown), tools=(LOOK,)
    )
    return look(
        plain,
        job("named", [RED_CIRCLE, "What is it?"], **NAMED, reasoning=NO_THINKING),
        job(
            "thinking", [RED_CIRCLE, "What is it?"], **NAMED, reasoning=Reasoning(enabled=True, max_tokens=4)
        ),
        msgspec.structs.replace(plain, id="later", chat=later),
        path=caller,
    )


def test_tools_are_called_about_a_picture_and_their_pictures_are_seen(answers: Report) -> None:
    """Streamed, with a thought before it and without."""
    for name in ("named", "thinking"):
        items = [item for _, item in answers.of(name)]
        (begin,) = [item for item in items if isinstance(item, ToolCallBegin)]
        arguments = json.loads("".join(one.arguments for one in items if isinstance(one, ToolCallDelta)))

        assert "look" == begin.name
        assert {"at", "n"} == set(arguments)
        assert arguments["at"] in ("cat", "dog")
        assert ("", "tool_calls") == (answers.text(name), answers.done(name).finish_reason)
        assert any(isinstance(item, ReasoningDelta) for item in items) == (name == "thinking")
    # Its turn is a tool's, with a picture: as much of it is read as the model has tokens for.
    assert answers.done("later").usage.prompt_tokens > answers.done("plain").usage.prompt_tokens + 16
    assert answers.done("later").finish_reason in ("stop", "length")
