"""What a chat template says that a model can do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernel.capabilities import MAX_BYTES, of_template

QWEN = "{% if tools %}{{ tools }}{% endif %}<tool_call>{{ tool_call.name }}</tool_call></think>"


def found(folder: Path, **files: object) -> tuple[str, ...]:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text)
    return of_template(folder, {path.name: path.stat().st_size for path in folder.iterdir()})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (QWEN, ("tools", "reasoning")),
        ("{{ messages }}", ()),
        ("{% if tools %}[AVAILABLE_TOOLS]{% endif %}[TOOL_CALLS]", ("tools",)),
        # Tools that nobody could read the calls of, and calls without tools.
        ("{{ tools }}", ()),
        ("{{ tools }}<tool_call>{{ call.function }}", ()),
        (r"{{ tools }}{{ '<tool_call>\n<function=' }}", ("tools",)),
        ("<tool_call>", ()),
        ("<think>", ("reasoning",)),
        ("Reasoning: {{ reasoning_effort }}", ("reasoning",)),
        ("{%- if enable_thinking is defined and not enable_thinking %}{% endif %}", ("reasoning",)),
        ("{% if messages and thinking %}Think first.{% endif %}", ("reasoning",)),
        ("{{ 'Say what you are thinking.' }}", ()),
        (None, ()),
        (
            [{"name": "default", "template": "x"}, {"name": "tool_use", "template": QWEN}],
            ("tools", "reasoning"),
        ),
        (5, ()),
    ],
)
def test_the_template_tells(tmp_path: Path, template: object, expected: tuple[str, ...]) -> None:
    assert found(tmp_path, tokenizer_config__json={"chat_template": template, "other": [1]}) == expected


def test_a_file_of_its_own_goes_first(tmp_path: Path) -> None:
    assert found(
        tmp_path, chat_template__jinja="<think>", tokenizer_config__json={"chat_template": QWEN}
    ) == ("reasoning",)


def test_tags_may_be_tokens_that_the_template_does_not_name(tmp_path: Path) -> None:
    config = {"added_tokens_decoder": {"7": {"content": "<|tool_call_start|>"}}}

    assert found(tmp_path, chat_template__jinja="{{ tools }}", tokenizer_config__json=config) == ("tools",)


def test_a_program_of_mlx_lm_instead_of_a_template_tells_that_it_thinks(tmp_path: Path) -> None:
    config = {"chat_template_type": "deepseek_v32"}

    assert found(tmp_path, tokenizer_config__json=config) == ("reasoning",)


def test_what_is_broken_or_huge_tells_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, tokenizer_config__json="{") == ()
    assert of_template(tmp_path, {"tokenizer_config.json": MAX_BYTES + 1}) == ()
