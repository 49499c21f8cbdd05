"""OpenAI's answers, whole and in chunks, as JSON. Knows neither HTTP nor the kernel."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from plugins.json_lines import one_line
from plugins.openai.answer import Answer
from plugins.openai.answer_types import (
    AssistantMessage,
    ChatChoice,
    CompletionChoice,
    EndReason,
    TokenUsage,
    ToolCallObject,
)
from plugins.openai.logprobs import chat_logprobs, completion_logprobs
from plugins.submission import Update
from transports.messages import Delta, Done, ReasoningDelta, Usage
from transports.tools import ToolCall, ToolCallBegin, ToolCallDelta
from transports.version import VERSION

# Clients compare it to notice that the server changed.
FINGERPRINT = f"mlxd-{VERSION}"

_encode = msgspec.json.Encoder().encode


class Shape(Protocol):
    """How a route answers."""

    id: str

    def first(self, index: int) -> bytes:
        """The chunk before the first text of a choice; b"" for none."""
        ...

    def chunk(self, index: int, item: Update) -> bytes:
        """A chunk with what is new of a choice; b"" where it is nothing to this route."""
        ...

    def last(self, index: int, end: Done) -> bytes:
        """The chunk that ends a choice."""
        ...

    def usage(self, usage: Usage) -> bytes:
        """The chunk after all choices."""
        ...

    def whole(self, answers: list[Answer], usage: Usage) -> bytes:
        """The answer of a request that did not ask to stream."""
        ...


class ChatShape:
    """/v1/chat/completions."""

    def __init__(self, model: str, *, include_usage: bool, with_logprobs: bool) -> None:
        self.id = f"chatcmpl-{secrets.token_urlsafe(16)}"
        self._model = model
        self._created = int(time.time())
        self._with_logprobs = with_logprobs
        head = _head(self.id, "chat.completion.chunk", self._created, model)
        self._frame = _Frame(head, include_usage=include_usage)

    def first(self, index: int) -> bytes:
        return self._frame.choice(index, b'"delta":{"role":"assistant","content":"","refusal":null}')

    def chunk(self, index: int, item: Update) -> bytes:
        logprobs = b"null"
        match item:
            case Delta(text=text) if text or item.logprobs:
                delta = b'"content":%b' % _text(text)
                logprobs = _encode(chat_logprobs(item.logprobs)) if item.logprobs else logprobs
            case ReasoningDelta(text=text):
                delta = b'"reasoning_content":%b' % _text(text)
            case ToolCallBegin():
                call = ToolCall(id=item.call_id, name=item.name, arguments="")
                delta = b'"tool_calls":[%b]' % _encode({"index": item.index, **_tool_call(call)})
            case ToolCallDelta():
                function = b'{"arguments":%b}' % _text(item.arguments)
                delta = b'"tool_calls":[{"index":%d,"function":%b}]' % (item.index, function)
            case _:
                return b""
        return self._frame.choice(index, b'"delta":{%b}' % delta, logprobs)

    def last(self, index: int, end: Done) -> bytes:
        return self._frame.choice(index, b'"delta":{}', finish=_encode(end.finish_reason))

    def usage(self, usage: Usage) -> bytes:
        return self._frame.usage(usage)

    def whole(self, answers: list[Answer], usage: Usage) -> bytes:
        choices: list[ChatChoice] = [
            {
                "index": index,
                "message": _message(answer),
                "logprobs": chat_logprobs(answer.logprobs) if self._with_logprobs else None,
                "finish_reason": _finish_reason(answer),
            }
            for index, answer in enumerate(answers)
        ]
        return _whole(self.id, "chat.completion", self._created, self._model, choices, usage)


class CompletionShape:
    """/v1/completions."""

    def __init__(self, model: str, *, include_usage: bool, with_logprobs: bool) -> None:
        self.id = f"cmpl-{secrets.token_urlsafe(16)}"
        self._model = model
        self._created = int(time.time())
        self._with_logprobs = with_logprobs
        # Choice -> characters sent, for text_offset.
        self._sent: dict[int, int] = {}
        head = _head(self.id, "text_completion", self._created, model)
        self._frame = _Frame(head, include_usage=include_usage)

    def first(self, index: int) -> bytes:
        return b""

    def chunk(self, index: int, item: Update) -> bytes:
        if not isinstance(item, Delta) or not (item.text or item.logprobs):
            return b""
        offset = self._sent.get(index, 0)
        self._sent[index] = offset + len(item.text)
        encoded = _encode(completion_logprobs(item.logprobs, offset)) if item.logprobs else b"null"
        return self._frame.choice(index, b'"text":%b' % _text(item.text), encoded)

    def last(self, index: int, end: Done) -> bytes:
        return self._frame.choice(index, b'"text":""', finish=_encode(end.finish_reason))

    def usage(self, usage: Usage) -> bytes:
        return self._frame.usage(usage)

    def whole(self, answers: list[Answer], usage: Usage) -> bytes:
        choices: list[CompletionChoice] = [
            {
                "index": index,
                "text": answer.text,
                "logprobs": completion_logprobs(answer.logprobs, 0) if self._with_logprobs else None,
                "finish_reason": _finish_reason(answer),
            }
            for index, answer in enumerate(answers)
        ]
        return _whole(self.id, "text_completion", self._created, self._model, choices, usage)


def _message(answer: Answer) -> AssistantMessage:
    calls = answer.tool_calls
    # OpenAI's schema wants "content" even when calls are all there is.
    message: AssistantMessage = {"role": "assistant", "content": answer.text, "refusal": None}
    if calls:
        message |= {"content": answer.text or None, "tool_calls": [_tool_call(call) for call in calls]}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    return message


def _finish_reason(answer: Answer) -> EndReason | None:
    reason = answer.end.finish_reason if answer.end else None
    # Nobody is there who reads a cancelled one.
    return None if reason == "cancelled" else reason


def _tool_call(call: ToolCall) -> ToolCallObject:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


class _Frame:
    """The parts of a chunk that stay the same; encoded once a request."""

    def __init__(self, head: bytes, *, include_usage: bool) -> None:
        self._head = head + b',"choices":['
        # OpenAI: with include_usage every chunk but the last has "usage": null.
        self._tail = b'],"usage":null}' if include_usage else b"]}"

    def choice(self, index: int, content: bytes, logprobs: bytes = b"null", finish: bytes = b"null") -> bytes:
        return b'%b{"index":%d,%b,"logprobs":%b,"finish_reason":%b}%b' % (
            self._head,
            index,
            content,
            logprobs,
            finish,
            self._tail,
        )

    def usage(self, usage: Usage) -> bytes:
        return b'%b],"usage":%b}' % (self._head, _encode(_usage(usage)))


def _head(id_: str, object_: str, created: int, model: str) -> bytes:
    fields = {
        "id": id_,
        "object": object_,
        "created": created,
        "model": model,
        "system_fingerprint": FINGERPRINT,
    }
    return _encode(fields)[:-1]


def _whole(
    id_: str, object_: str, created: int, model: str, choices: Sequence[object], usage: Usage
) -> bytes:
    rest = _encode({"choices": choices, "usage": _usage(usage)})
    return _head(id_, object_, created, model) + b"," + rest[1:]


def _usage(usage: Usage) -> TokenUsage:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _text(text: str) -> bytes:
    return one_line(_encode(text))
