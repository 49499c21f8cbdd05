"""Anthropic's requests to the protocol's; refuses what would otherwise be dropped in silence and matters."""

from __future__ import annotations

from plugins.anthropic.requests import CountBody, MessagesBody, MessageTurn
from plugins.anthropic.tools import read_reasoning, read_tools
from plugins.keep_alive import keep_alive_of
from plugins.openai.grammars import schema_grammar
from plugins.raw_fields import has_value
from transports.errors import RequestError, ThreadUnsupported
from transports.messages import ChatMessage, ChatRequest, Grammar, Image, Sampling

# Field -> why it is refused.
_REFUSED = {
    "container": "code and skills of Anthropic's containers do not run here; leave it out",
    "mcp_servers": "they are connected to by the client, not here; leave it out",
}


def check(body: CountBody) -> None:
    """Refuse what cannot be asked for, before anything is fetched or decoded.

    Raises:
        RequestError: It asks for something that this version cannot do.
    """
    for name, reason in _REFUSED.items():
        if has_value(field := getattr(body, name)) and bytes(field) != b"[]":
            raise RequestError(f"{name}: not supported: {reason}", param=name)
    if has_value(body.thread):
        raise ThreadUnsupported(
            "thread: not supported: conversations are not kept here; send all messages", param="thread"
        )
    read_tools(body.tools, body.tool_choice)
    read_reasoning(body)
    _grammar(body)
    keep_alive_of(body.keep_alive)
    _check_last(body.messages[-1])


def message_request(
    body: MessagesBody, messages: tuple[ChatMessage, ...], images: tuple[Image, ...]
) -> ChatRequest:
    """The body of submit for a message that was checked; *messages* are the turns of `content.py`."""
    return ChatRequest(
        messages=messages,
        images=images,
        # To read the prompt, and nothing else, is to make one token that nobody sees.
        max_tokens=max(body.max_tokens, 1),
        # Clients must say a number, and most say that of Anthropic's models.
        cut_to_context=True,
        sampling=Sampling(temperature=body.temperature, top_p=body.top_p, top_k=body.top_k),
        stop=tuple(body.stop_sequences or ()),
        grammar=_grammar(body),
        continues_last=body.messages[-1].role == "assistant",
        reasoning=read_reasoning(body),
        **read_tools(body.tools, body.tool_choice),
    )


def count_request(
    body: CountBody, messages: tuple[ChatMessage, ...], images: tuple[Image, ...]
) -> ChatRequest:
    """The body of submit that counts the tokens of a message.

    What a picture is to a model is known once it has looked at it: then the prompt is read.
    """
    return ChatRequest(
        messages=messages,
        images=images,
        max_tokens=1,
        count_only=not images,
        continues_last=body.messages[-1].role == "assistant",
        reasoning=read_reasoning(body),
        **read_tools(body.tools, body.tool_choice),
    )


def _check_last(turn: MessageTurn) -> None:
    """Refuse a beginning of the answer that the model could not well go on with, as Anthropic does."""
    content = turn.content
    text = content if isinstance(content, str) else (content[-1].text or "") if content else ""
    if turn.role == "assistant" and text != text.rstrip():
        raise RequestError(
            "messages: expected a last turn of the assistant without white space at its end", param="messages"
        )


def _grammar(body: CountBody) -> Grammar | None:
    config = body.output_config
    if config is not None and config.format is not None:
        return schema_grammar(config.format.schema, "output_config.format.schema")
    if body.output_format is not None:
        return schema_grammar(body.output_format.schema, "output_format.schema")
    return None
