"""The tools whose input Anthropic has defined, and which the client runs: what a model is told of them."""

from __future__ import annotations

import json
from typing import NamedTuple


class KnownTool(NamedTuple):
    """A tool that a request only names."""

    description: str
    # JSON Schema of its input.
    input_schema: str


def known_tool(type_: str) -> KnownTool | None:
    """The tool of that type, such as "bash_20250124"; None for one that is not known."""
    family, _, version = type_.rpartition("_")
    return _TOOLS.get(family) if version.isdecimal() else None


def _object(required: list[str], **properties: object) -> str:
    return json.dumps({"type": "object", "properties": properties, "required": required})


_TEXT = {"type": "string"}
_PATH = {"type": "string", "description": "Absolute path of a file or folder."}
_LINES = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}

_TOOLS = {
    "bash": KnownTool(
        "Runs a command in a bash session that stays open between calls.",
        _object(
            [],
            command={"type": "string", "description": "The command. Required unless restart is true."},
            restart={"type": "boolean", "description": "Start the session anew."},
        ),
    ),
    "text_editor": KnownTool(
        "Shows, creates and changes text files. view shows a file with line numbers, or lists a folder; "
        "str_replace replaces text that occurs once; insert puts text behind a line.",
        _object(
            ["command", "path"],
            command={"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
            path=_PATH,
            view_range={**_LINES, "description": "Of view: first and last line, from 1; -1 is the end."},
            file_text={**_TEXT, "description": "Of create: the whole file."},
            old_str={**_TEXT, "description": "Of str_replace: what is replaced."},
            new_str={**_TEXT, "description": "Of str_replace: what stands there afterwards."},
            insert_line={
                "type": "integer",
                "description": "Of insert: the line before it, from 0.",
            },
            insert_text={**_TEXT, "description": "Of insert: the new text."},
        ),
    ),
    "memory": KnownTool(
        "Keeps notes in files below /memories, for later conversations too.",
        _object(
            ["command"],
            command={
                "type": "string",
                "enum": ["view", "create", "str_replace", "insert", "delete", "rename"],
            },
            path={"type": "string", "description": "A path below /memories."},
            view_range={**_LINES, "description": "Of view: first and last line, from 1."},
            file_text={**_TEXT, "description": "Of create: the whole file."},
            old_str={**_TEXT, "description": "Of str_replace: what is replaced."},
            new_str={**_TEXT, "description": "Of str_replace: what stands there afterwards."},
            insert_line={"type": "integer", "description": "Of insert: the line before it."},
            insert_text={**_TEXT, "description": "Of insert: the new text."},
            old_path={**_TEXT, "description": "Of rename."},
            new_path={**_TEXT, "description": "Of rename."},
        ),
    ),
}
