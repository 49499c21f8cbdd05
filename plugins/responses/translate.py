"""Requests for a response to the protocol's; refuses what would be dropped in silence and matters."""

from __future__ import annotations

import msgspec

from plugins.keep_alive import keep_alive_of
from plugins.openai.grammars import ANY_OBJECT, schema_grammar
from plugins.openai.tools import (
    AllowedTools,
    FunctionByName,
    InputTool,
    InputToolChoice,
    ToolByName,
    ToolTerms,
    read_reasoning,
    read_tools,
    thinking_fields,
)
from plugins.openai.translate import check_stream_options, common_terms, one_of
from plugins.raw_fields import has_value
from plugins.responses.namespaces import flat_functions, without_foreign
from plugins.responses.output import Style
from plugins.responses.requests import ResponseBody, TextFormat, ToolChoiceObject
from plugins.thinking_models import ThinkingFields
from transports.errors import RequestError
from transports.messages import ChatMessage, ChatRequest, Grammar, Image

_REFUSED = {
    "background": "answers are not made in the background here; leave it out, and stream",
    "conversation": "conversations are not kept here; send previous_response_id, or the items themselves",
    "moderation": "nothing is moderated here; leave it out",
    "prompt": "prompts are not kept here; send instructions and input",
}
_FORMATS = "text, json_object or json_schema"


def check_response(body: ResponseBody) -> None:
    """Refuse what a response cannot be asked for.

    Raises:
        RequestError: It asks for something that this version cannot do.
    """
    asked = {
        "background": body.background is True,
        "conversation": has_value(body.conversation),
        "moderation": has_value(body.moderation),
        "prompt": has_value(body.prompt),
    }
    for name, reason in _REFUSED.items():
        if asked[name]:
            raise RequestError(f"{name}: not supported: {reason}", param=name)
    if body.text and body.text.verbosity not in (None, "medium"):
        raise RequestError(
            'text.verbosity: expected "medium"; models here know no other: say in the instructions how long '
            "the answer should be, or bound it with max_output_tokens",
            param="text.verbosity",
        )
    check_stream_options(body)
    response_request(body, ())
    keep_alive_of(body.keep_alive)


def response_request(
    body: ResponseBody, messages: tuple[ChatMessage, ...], images: tuple[Image, ...] = ()
) -> ChatRequest:
    """The body of submit; *messages* are the turns of the whole conversation.

    Raises:
        RequestError: It asks for something that this version cannot do.
    """
    common = common_terms(body)
    common["grammar"] = _grammar(body, common["grammar"])
    return ChatRequest(
        messages=messages,
        images=images,
        max_tokens=one_of(body, "max_output_tokens", "max_tokens"),
        top_logprobs=_top_logprobs(body),
        reasoning=read_reasoning(body.thinking.effort, body.thinking_budget, body.chat_template_kwargs),
        **_tools(body),
        **common,
    )


def style_of(body: ResponseBody) -> Style:
    """How its thoughts are written."""
    return Style(
        is_summary=body.thinking.wanted_summary is not None,
        is_wrapped="reasoning.encrypted_content" in (body.include or ()),
    )


def without_effect(body: ResponseBody) -> list[str]:
    """Those of its fields that are known, and have none."""
    found = {
        "reasoning.context": body.thinking.context,
        "reasoning.mode": body.thinking.mode,
        "truncation": body.truncation == "auto",
    }
    return [name for name, value in found.items() if value]


def thinking_of(body: ResponseBody) -> ThinkingFields:
    """The fields that have the model think."""
    return thinking_fields(
        body.thinking.effort, body.thinking_budget, body.chat_template_kwargs, "reasoning.effort"
    )


def may_leave_out_tools(body: ResponseBody) -> bool:
    """Whether there are tools, none of which has to be called."""
    return bool(body.tools) and body.tool_choice in (None, "auto", "none")


def without_foreign_tools(body: ResponseBody) -> ResponseBody:
    """The request without tools that are no functions."""
    return msgspec.structs.replace(body, tools=without_foreign(body.tools))


def without_tools(body: ResponseBody) -> ResponseBody:
    """The request as if there were none."""
    return msgspec.structs.replace(body, tools=None, tool_choice=None)


def _top_logprobs(body: ResponseBody) -> int | None:
    is_asked = "message.output_text.logprobs" in (body.include or ()) or body.top_logprobs
    return (body.top_logprobs or 0) if is_asked else None


def _tools(body: ResponseBody) -> ToolTerms:
    functions = flat_functions(body.tools)
    tools = [InputTool(type="function", function=function) for function in functions.values()]
    choice = body.tool_choice
    read = _choice(choice) if isinstance(choice, ToolChoiceObject) else choice
    return read_tools(tools, read, body.parallel_tool_calls, paths=[*functions])


def _choice(choice: ToolChoiceObject) -> InputToolChoice:
    allowed: AllowedTools | None = None
    if choice.type == "allowed_tools" and choice.tools:
        tools = [ToolByName(type=tool.type, function=_by_name(tool.name)) for tool in choice.tools]
        allowed = AllowedTools(mode=choice.mode or "auto", tools=tools)
    return InputToolChoice(type=choice.type, function=_by_name(choice.name), allowed_tools=allowed)


def _by_name(name: str | None) -> FunctionByName | None:
    return None if name is None else FunctionByName(name=name)


def _grammar(body: ResponseBody, local: Grammar | None) -> Grammar | None:
    wanted = _of_format(body.format)
    if local and wanted:
        raise RequestError(
            f"{local.param}: an answer keeps to one grammar; send it or text.format", param=local.param
        )
    return local or wanted


def _of_format(wanted: TextFormat) -> Grammar | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Grammar(kind="json_schema", text=ANY_OBJECT, param="text.format")
    if wanted.type != "json_schema":
        raise RequestError(
            f"text.format.type: expected {_FORMATS}, got {wanted.type[:40]!r}", param="text.format.type"
        )
    param = "text.format.schema"
    if not has_value(wanted.schema):
        raise RequestError(f"{param}: required, and missing", param=param)
    return schema_grammar(wanted.schema, param)
