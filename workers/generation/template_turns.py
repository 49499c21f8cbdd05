"""A conversation as chat templates know it: turns, tools, thinking. Knows no tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from transports.errors import RequestError
from transports.messages import ChatMessage, ChatRequest, Reasoning, TextPart
from transports.tools import ToolCall
from workers.generation.tool_calls import Tools

Plain = Callable[[str], str]
# What a template is told besides the turns.
Fields = Mapping[str, object]
NO_FIELDS: Fields = {}


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an answer begins with, as the request has it; the model goes on."""

    text: str = ""
    # What stands around thoughts, which are over before the answer.
    think_start: str = ""
    think_end: str = ""

    def after(self, prompt: str, plain: Plain) -> str:
        """A rendered *prompt*, which ends where an answer begins, with this behind it."""
        if not self.text:
            return prompt
        if self.think_start and prompt.rstrip().endswith(self.think_start):
            prompt = f"{prompt}{self.think_end}\n\n"
        return prompt + plain(self.text)


NO_BEGINNING = Beginning()


def split_last(body: ChatRequest) -> tuple[Sequence[ChatMessage], str]:
    """The conversation, and what the answer begins with ("": nothing).

    Raises:
        RequestError: The answer is to go on with what is none of the assistant's words.
    """
    if not body.continues_last:
        return body.messages, ""
    *before, last = body.messages
    is_words = isinstance(last.content, str) and not last.tool_calls and not last.reasoning
    if not before or last.role != "assistant" or not is_words:
        raise RequestError(
            "messages: expected words of the assistant at the end, behind other turns, for the answer to "
            "go on with",
            param="messages",
        )
    return before, last.text


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


def with_calls_as_words(message: ChatMessage) -> ChatMessage:
    """The turn for a template that shows no calls: what was called is part of what it says."""
    if not message.tool_calls:
        return message
    calls = "\n".join(_in_words(call) for call in message.tool_calls)
    if isinstance(message.content, str):
        content = "\n".join(filter(None, (message.content, calls)))
        return msgspec.structs.replace(message, content=content, tool_calls=())
    return msgspec.structs.replace(message, content=(*message.content, TextPart(text=calls)), tool_calls=())


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


def _in_words(call: ToolCall) -> str:
    """As most models that call tools write it, without tags."""
    return f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {call.arguments}}}'


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
