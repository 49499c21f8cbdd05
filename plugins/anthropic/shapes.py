"""Anthropic's answers, whole and as events, as JSON. Knows neither HTTP nor the kernel."""

from __future__ import annotations

import secrets
from typing import TypeVar

import msgspec
from msgspec import Raw

from plugins.anthropic.answers import (
    NO_INPUT,
    AnswerBlock,
    BlockDelta,
    BlockStart,
    BlockStop,
    DeltaUsage,
    EndDelta,
    Event,
    InputDelta,
    MessageDelta,
    MessageObject,
    MessageStart,
    MessageStop,
    MessageUsage,
    OutputDetails,
    Ping,
    SignatureDelta,
    StopReason,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)
from plugins.anthropic.blocks import Added, BlockReader, Closed, Opened, Step
from plugins.json_lines import one_line
from plugins.submission import Update
from transports.errors import WorkerError
from transports.messages import Done, Usage

AnyUsage = TypeVar("AnyUsage", bound=DeltaUsage)

_encode = msgspec.json.Encoder().encode


class MessageShape:
    """Of one answer.

    Args:
        model: As the request names it.
        max_tokens: Of the request.
        blocks: Tells its items apart.
    """

    def __init__(self, model: str, max_tokens: int, blocks: BlockReader) -> None:
        self.id = f"msg_{secrets.token_urlsafe(16)}"
        self._model = model
        self._max_tokens = max_tokens
        self._blocks = blocks
        # Blocks that have begun.
        self._num_blocks = 0

    def start(self, num_prompt: int) -> bytes:
        """The event before all others.

        Args:
            num_prompt: Tokens of the prompt; 0 where that is not known yet.
        """
        usage = Usage(prompt_tokens=num_prompt, completion_tokens=0)
        return event(MessageStart(message=self._message([], None, usage)))

    def more(self, item: Update) -> bytes:
        """The events of an item."""
        if not self._max_tokens:
            return b""
        return b"".join(map(self._step, self._blocks.take(item)))

    def end(self, end: Done) -> bytes:
        """The last events."""
        last = b"".join(map(self._step, self._blocks.finish()))
        usage = _usage(DeltaUsage, end.usage, self._max_tokens)
        delta = EndDelta(stop_reason=self._reason(end), stop_sequence=_sequence(end))
        return last + event(MessageDelta(delta=delta, usage=usage)) + event(MessageStop())

    def whole(self, items: list[Update], end: Done) -> bytes:
        """The answer of a request that did not ask to stream."""
        steps = [step for item in items for step in self._blocks.take(item)]
        steps += self._blocks.finish()
        content = _gathered(steps) if self._max_tokens else []
        return one_line(_encode(self._message(content, end, end.usage)))

    def _message(self, content: list[AnswerBlock], end: Done | None, usage: Usage) -> MessageObject:
        return MessageObject(
            id=self.id,
            model=self._model,
            content=content,
            stop_reason=self._reason(end) if end else None,
            stop_sequence=_sequence(end) if end else None,
            usage=_usage(MessageUsage, usage, self._max_tokens),
        )

    def _step(self, step: Step) -> bytes:
        match step:
            case Opened():
                begin = event(BlockStart(index=self._num_blocks, content_block=_empty(step)))
                self._num_blocks += 1
                # As Anthropic does it: one ping, behind the beginning of the first block.
                return begin + event(Ping()) if self._num_blocks == 1 else begin
            case Added():
                return event(BlockDelta(index=self._num_blocks - 1, delta=_delta(step)))
            case Closed():
                return event(BlockStop(index=self._num_blocks - 1))

    def _reason(self, end: Done) -> StopReason:
        match end.finish_reason:
            case "tool_calls":
                return "tool_use"
            case "length":
                is_short = end.usage.completion_tokens < self._max_tokens
                return "model_context_window_exceeded" if is_short else "max_tokens"
        if not self._max_tokens:
            return "max_tokens"
        return "end_turn" if end.stop is None else "stop_sequence"


def event(content: Event) -> bytes:
    """An event as it goes over the wire, with its name."""
    name = type(content).__struct_config__.tag
    return b"event: %b\ndata: %b\n\n" % (str(name).encode(), one_line(_encode(content)))


PING = event(Ping())


def _empty(step: Opened) -> AnswerBlock:
    if step.call is not None:
        return ToolUseBlock(id=step.call.call_id, name=step.call.name, input=NO_INPUT)
    return TextBlock(text="") if step.type == "text" else ThinkingBlock(thinking="", signature="")


def _delta(step: Added) -> TextDelta | ThinkingDelta | SignatureDelta | InputDelta:
    match step.type:
        case "text_delta":
            return TextDelta(text=step.text)
        case "thinking_delta":
            return ThinkingDelta(thinking=step.text)
        case "signature_delta":
            return SignatureDelta(signature=step.text)
        case "input_json_delta":
            return InputDelta(partial_json=step.text)


def _gathered(steps: list[Step]) -> list[AnswerBlock]:
    """The blocks that *steps* make."""
    blocks: list[AnswerBlock] = []
    opened: Opened | None = None
    texts: dict[str, list[str]] = {}
    for step in steps:
        match step:
            case Opened():
                opened, texts = step, {}
            case Added():
                texts.setdefault(step.type, []).append(step.text)
            case Closed() if opened is not None:
                blocks.append(_block(opened, {kind: "".join(parts) for kind, parts in texts.items()}))
    return blocks


def _block(opened: Opened, texts: dict[str, str]) -> AnswerBlock:
    if opened.call is not None:
        call = opened.call
        return ToolUseBlock(id=call.call_id, name=call.name, input=_input(texts.get("input_json_delta", "")))
    if opened.type == "text":
        return TextBlock(text=texts["text_delta"])
    return ThinkingBlock(thinking=texts.get("thinking_delta", ""), signature=texts["signature_delta"])


def _input(arguments: str) -> Raw:
    """The JSON that a worker wrote, as it stands."""
    try:
        msgspec.json.decode(arguments or "{}", type=dict)
    except msgspec.DecodeError:
        raise WorkerError("the worker called a tool with what is no JSON object") from None
    return Raw((arguments or "{}").encode())


def _usage(kind: type[AnyUsage], usage: Usage, max_tokens: int) -> AnyUsage:
    return kind(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        cache_read_input_tokens=usage.cached_tokens,
        # Of a request for none one was made, which nobody sees.
        output_tokens=min(usage.completion_tokens, max_tokens),
        output_tokens_details=OutputDetails(thinking_tokens=min(usage.reasoning_tokens, max_tokens)),
    )


def _sequence(end: Done) -> str | None:
    return end.stop if end.finish_reason == "stop" else None
