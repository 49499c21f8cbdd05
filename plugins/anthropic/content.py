"""The turns of a chat from Anthropic's content blocks: words, calls and results, and pictures to decode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw

from plugins.anthropic.requests import Block, BlockSource, MessageTurn
from plugins.media.data_url import UncopiedUrl
from plugins.media.picture import Source
from plugins.turns import Role, Turn, check_texts_of
from plugins.wrapped_thoughts import unwrapped
from transports.errors import RequestError
from transports.tools import MAX_JSON_CHARS, MAX_TOOL_CALLS, ToolCall

# `ChatRequest.messages`; each result of a tool is a turn of its own there.
MAX_TURNS = 4096
# Claude Code's first block of the system prompt, meant for Anthropic's accounts: its number is another one in
# each request, so that no prompt would begin like an earlier one.
BILLING = "x-anthropic-billing-header:"
_BLOCKS = {
    "user": "text, image, document, search_result or tool_result",
    "assistant": "text, thinking, redacted_thinking or tool_use",
    "system": "text",
}

Part = str | Source


@dataclass(slots=True)
class _Said:
    """A turn to which more may come."""

    role: Role
    parts: list[Part] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    # Of a result.
    call_id: str | None = None

    def turn(self) -> Turn:
        """As it is now."""
        return Turn(
            role=self.role,
            parts=_joined(self.parts),
            tool_calls=tuple(self.calls),
            tool_call_id=self.call_id,
            reasoning="\n".join(filter(None, self.thoughts)),
        )


def read_turns(system: str | Sequence[Block] | None, messages: Sequence[MessageTurn]) -> list[Turn]:
    """Tell the blocks of a conversation apart; nothing is decoded or fetched for this.

    Turns of one role that follow each other are one turn.

    Raises:
        RequestError: A block of another type, in the wrong place, or without its content; or too much of it.
    """
    told = _texts(system or (), "system")
    first = 0
    for message in messages:
        if message.role != "system":
            break
        told += _texts(message.content, f"messages[{first}].content")
        first += 1
    said = [_Said("system", [*told])] if told else []
    for at, message in enumerate(messages[first:], first):
        path = f"messages[{at}].content"
        match message.role:
            case "user":
                _add_user(said, message.content, path)
            case "assistant":
                _add(said, _assistant(message.content, path))
            case "system":
                # Most chat templates take system turns at the beginning only.
                text = "\n".join(_texts(message.content, path))
                _add(said, _Said("user", [f"<system>\n{text}\n</system>"]))
    if not 1 <= len(said) <= MAX_TURNS:
        found = len(said) or "none that says something"
        raise RequestError(
            f"messages: expected 1 to {MAX_TURNS} turns, results of tools among them, got {found}",
            param="messages",
        )
    turns = [one.turn() for one in said]
    check_texts_of(turns)
    return turns


def _texts(content: str | Sequence[Block], path: str) -> list[str]:
    """What the system says."""
    if isinstance(content, str):
        return [content] if content else []
    texts = []
    for at, block in enumerate(content):
        if block.type != "text":
            raise _wrong_type("system", f"{path}[{at}]")
        text = _required(block.text, f"{path}[{at}].text")
        if text and not text.startswith(BILLING):
            texts.append(text)
    return texts


# --- the assistant ----------------------------------------------------------------------------


def _assistant(content: str | Sequence[Block], path: str) -> _Said:
    said = _Said("assistant")
    for at, block in enumerate(_blocks(content)):
        place = f"{path}[{at}]"
        match block.type:
            case "text":
                said.parts.append(_required(block.text, f"{place}.text"))
            case "thinking":
                thought = _required(block.thinking, f"{place}.thinking")
                said.thoughts.append(thought or unwrapped(block.signature or ""))
            case "redacted_thinking":
                # Only Anthropic could read it.
                pass
            case "tool_use":
                said.calls.append(_call(block, place))
            case _:
                raise _wrong_type("assistant", place)
    return said


def _call(block: Block, path: str) -> ToolCall:
    arguments = bytes(block.input)
    if not arguments.startswith(b"{"):
        raise RequestError(f"{path}.input: expected an object", param=f"{path}.input")
    if len(arguments) > MAX_JSON_CHARS:
        raise RequestError(
            f"{path}.input: expected at most {MAX_JSON_CHARS} bytes, got {len(arguments)}",
            param=f"{path}.input",
        )
    return ToolCall(
        id=_required(block.id, f"{path}.id"),
        name=_required(block.name, f"{path}.name"),
        arguments=arguments.decode(),
    )


# --- the user ---------------------------------------------------------------------------------


def _add_user(said: list[_Said], content: str | Sequence[Block], path: str) -> None:
    """The results of tools, then what the user says."""
    parts: list[Part] = []
    results: list[_Said] = []
    for at, block in enumerate(_blocks(content)):
        place = f"{path}[{at}]"
        if block.type == "tool_result":
            results.append(_result(block, place))
        else:
            parts += _shown(block, place, "user")
    for result in results:
        _add(said, result)
    if parts or not results:
        _add(said, _Said("user", parts))


def _result(block: Block, path: str) -> _Said:
    content = block.content
    if isinstance(content, Block):
        raise RequestError(f"{path}.content: expected a string or a list of blocks", param=f"{path}.content")
    parts: list[Part] = ["Error:"] if block.is_error else []
    for at, inner in enumerate(_blocks(content or ())):
        place = f"{path}.content[{at}]"
        if inner.type == "tool_reference":
            parts.append(_required(inner.tool_name, f"{place}.tool_name"))
        else:
            parts += _shown(inner, place, "user")
    return _Said("tool", parts, call_id=_required(block.tool_use_id, f"{path}.tool_use_id"))


def _shown(block: Block, path: str, role: str) -> list[Part]:
    """What a model is shown: words and pictures."""
    match block.type:
        case "text":
            return [_required(block.text, f"{path}.text")]
        case "image":
            return [_file(_source(block, path), f"{path}.source")]
        case "document":
            return _document(block, path)
        case "search_result":
            _check_citations(block, path)
            content = block.content if isinstance(block.content, list) else []
            texts = [_required(inner.text, f"{path}.content[{at}].text") for at, inner in enumerate(content)]
            if not isinstance(block.source, str):
                raise RequestError(f"{path}.source: expected a string", param=f"{path}.source")
            return [_required(block.title, f"{path}.title"), block.source, *texts]
    raise _wrong_type(role, path)


def _document(block: Block, path: str) -> list[Part]:
    _check_citations(block, path)
    source = _source(block, path)
    place = f"{path}.source"
    about: list[Part] = [text for text in (block.title, block.context) if text]
    match source.type:
        case "text":
            return [*about, _text(source.data, f"{place}.data")]
        case "content":
            inner = _blocks(source.content or ())
            shown = [_content(one, f"{place}.content[{at}]") for at, one in enumerate(inner)]
            return [*about, *(part for parts in shown for part in parts)]
    return [*about, _file(source, place)]


def _check_citations(block: Block, path: str) -> None:
    if block.citations is not None and not isinstance(block.citations, list) and block.citations.enabled:
        raise RequestError(
            f"{path}.citations: not supported; answers here do not say where they have something from",
            param=f"{path}.citations",
        )


def _content(block: Block, path: str) -> list[Part]:
    if block.type not in ("text", "image"):
        raise RequestError(f"{path}.type: expected text or image", param=f"{path}.type")
    return _shown(block, path, "user")


def _file(source: BlockSource, path: str) -> Source:
    """A picture or document that is to be fetched or decoded; what it is only its bytes say."""
    match source.type:
        case "base64":
            text = memoryview(source.data)
            if bytes(text[:1]) != b'"':
                raise RequestError(f"{path}.data: expected a string", param=f"{path}.data")
            return Source(content=UncopiedUrl(text[1:-1], is_bare=True), path=f"{path}.data")
        case "url":
            return Source(content=_required(source.url, f"{path}.url"), path=f"{path}.url")
        case "file":
            raise RequestError(
                f"{path}.type: files are not kept here; send base64 or a URL", param=f"{path}.type"
            )
    raise RequestError(f"{path}.type: expected base64 or url", param=f"{path}.type")


# --- helpers ----------------------------------------------------------------------------------


def _add(said: list[_Said], more: _Said) -> None:
    """Put *more* behind the others, or into the last one if that is of the same role."""
    if not said or said[-1].role != more.role or more.role == "tool":
        said.append(more)
    else:
        last = said[-1]
        last.parts += more.parts
        last.calls += more.calls
        last.thoughts += more.thoughts
    if len(said[-1].calls) > MAX_TOOL_CALLS:
        raise RequestError(
            f"messages: expected at most {MAX_TOOL_CALLS} calls of tools in a turn", param="messages"
        )


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Blocks of text that follow each other are lines of their own."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined.append("\n")
        joined.append(part)
    return joined


def _blocks(content: str | Sequence[Block]) -> Sequence[Block]:
    if isinstance(content, str):
        return [Block(type="text", text=content)] if content else []
    return content


def _source(block: Block, path: str) -> BlockSource:
    if not isinstance(block.source, BlockSource):
        raise RequestError(f"{path}.source: expected an object", param=f"{path}.source")
    return block.source


def _text(raw: Raw, path: str) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        raise RequestError(f"{path}: expected a string", param=path) from None


def _required(value: str | None, path: str) -> str:
    if value is None:
        raise RequestError(f"{path}: required, and missing", param=path)
    return value


def _wrong_type(role: str, path: str) -> RequestError:
    return RequestError(
        f"{path}.type: expected {_BLOCKS[role]} in a turn of the {role}", param=f"{path}.type"
    )
