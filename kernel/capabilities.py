"""What a model can do besides writing, as its chat template says. Runs nothing that is in it.

The worker has the last word: it looks at what the template makes of tools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from transports.reports import Capability

# Templates have some 10 kB; beside them is the list of special tokens.
MAX_BYTES = 4 * 1024 * 1024
# Around thoughts, as mlx-lm knows them (mlx_lm.tokenizer_utils).
_THOUGHTS = ("<think>", "</think>", "<longcat_think>", "<|think:start|>", "<|channel>", "<|open|>think")
# What else tells: templates that are told whether, or how hard, to think, and models that are rendered by a
# program of mlx-lm's, which name it in tokenizer_config.json (mlx_lm.chat_templates: all of them think).
_TOLD_TO_THINK = re.compile(r"reasoning_effort|\{%[^{}%]*\b(?:enable_)?thinking\b|\"chat_template_type\"")
# In templates that write calls as mlx-lm can read them: all words of a line.
_CALLS = (
    # Without the second it writes something else there, which nobody can read.
    ("<tool_call>", "tool_call.name"),
    ("<tool_call>\\n<function=",),
    ("<tool_call>\n<function=",),
    ("[TOOL_CALLS]",),
    ("<|tool_call>", "<tool_call|>"),
    ("<|tool_call_start|>",),
    ("<|tool_list_start|>",),
    ("<|tool_calls_section_begin|>",),
    ("<minimax:tool_call>",),
    ("<start_function_call>",),
    ("<longcat_tool_call>",),
    ("<arg_key>",),
    ('<function name="', '<param name="'),
    ("<atem:function_calls>",),
    ("<|open|>tools",),
)


class _NamedTemplate(Struct, frozen=True):
    """Of a model that has several."""

    name: str
    template: str


class _TokenizerConfig(Struct, frozen=True):
    """All that is read of it."""

    chat_template: str | list[_NamedTemplate] | None = None


def of_template(folder: Path, sizes: Mapping[str, int]) -> tuple[Capability, ...]:
    """What the chat template in *folder* knows.

    Args:
        sizes: Of the folder's files, bytes, by name.

    Raises:
        OSError: A file cannot be read.
    """
    template = _template(folder, sizes)
    found: list[Capability] = []
    # Some templates leave the tags to the model; they are among its tokens then.
    written = template + _text(folder, "tokenizer_config.json", sizes)
    if "tools" in template and any(all(word in written for word in words) for words in _CALLS):
        found.append("tools")
    if _TOLD_TO_THINK.search(written) or any(tag in template for tag in _THOUGHTS):
        found.append("reasoning")
    return tuple(found)


def _text(folder: Path, name: str, sizes: Mapping[str, int]) -> str:
    if not 0 < sizes.get(name, 0) <= MAX_BYTES:
        return ""
    return (folder / name).read_bytes().decode(errors="replace")


def _template(folder: Path, sizes: Mapping[str, int]) -> str:
    if text := _text(folder, "chat_template.jinja", sizes):
        return text
    for name in ("chat_template.json", "tokenizer_config.json"):
        try:
            said = msgspec.json.decode(_text(folder, name, sizes), type=_TokenizerConfig).chat_template
        except (msgspec.DecodeError, RecursionError):
            continue
        if said is not None:
            return said if isinstance(said, str) else "".join(one.template for one in said)
    return ""
