"""Tools that models are asked to call."""

from __future__ import annotations

import json

LOOK_PARAMETERS = json.dumps(
    {
        "type": "object",
        "properties": {
            "at": {"enum": ["cat", "dog"]},
            "n": {"type": "integer", "maximum": 9, "minimum": 0},
        },
        "required": ["at", "n"],
        "additionalProperties": False,
    }
)
