"""A conversation as chat templates know it: turns, tools, thinking. Knows no tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from transports.messages import ChatMessage, Reasoning
from transports.tools import ToolCall
from workers.generation.tool_calls import Tools

Plain = Callable[[str], str]
# What a template is told besides the turns.
Fields = Mapping[str, object]
NO_FIELDS: Fields = {}


def turn_of(
    message: ChatMessage, content: object, plain: Plain, *, role: str, name: str | None
) -> dict[str, object]:
    """One turn.

    Args:
        content: As the template takes it.
        plain: Makes text in which the names of special tokens are no tokens.
        role: As the template knows it.
        name: Who speaks; of a result, which tool.
    """
    turn: dict[str, object] = {"role": role, "content": content}
    if name is not None:
        turn["name"] = name
    if message.tool_call_id is not None:
        turn["tool_call_id"] = plain(message.tool_call_id)
    if message.tool_calls:
        turn["tool_calls"] = [_call(call, plain) for call in message.tool_calls]
    if message.reasoning:
        turn["reasoning_content"] = plain(message.reasoning)
    return turn


def called_names(messages: Sequence[ChatMessage]) -> dict[str, str]:
    """Call id -> the tool that was called; results do not say it, and some templates want it."""
    return {call.id: call.name for message in messages for call in message.tool_calls}


def fields_of(tools: Tools | None, reasoning: Reasoning, plain: Plain) -> Fields:
    """What a request tells the template; only what it says itself."""
    fields: dict[str, object] = {}
    if tools is not None:
        fields["tools"] = _plainly(tools.definitions, plain)
    if reasoning.enabled is not None:
        # DeepSeek's and Granite's templates have the second name.
        fields |= {"enable_thinking": reasoning.enabled, "thinking": reasoning.enabled}
    if reasoning.effort is not None:
        fields["reasoning_effort"] = reasoning.effort
    return fields


def _call(call: ToolCall, plain: Plain) -> dict[str, object]:
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    # A template writes an object in its own way; anything else is shown as it was sent.
    shown = arguments if isinstance(arguments, dict) else call.arguments
    function = {"name": plain(call.name), "arguments": _plainly(shown, plain)}
    return {"id": plain(call.id), "type": "function", "function": function}


def _plainly(value: object, plain: Plain) -> object:
    """A value whose texts are plain, at any depth."""
    match value:
        case str():
            return plain(value)
        case Mapping():
            return {plain(str(key)): _plainly(one, plain) for key, one in value.items()}
        case list() | tuple():
            return [_plainly(one, plain) for one in value]
        case _:
            return value
