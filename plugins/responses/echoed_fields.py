"""The fields of a response that say what was asked for: the same from its beginning to its end."""

from __future__ import annotations

from plugins.raw_fields import has_value
from plugins.responses.requests import (
    Function,
    NamedTool,
    ResponseBody,
    ResponseTool,
    TextFormat,
    ToolChoiceObject,
)
from plugins.responses.shapes import (
    ChosenTool,
    ChosenTools,
    EchoedFields,
    FormatObject,
    FunctionObject,
    NamespaceObject,
)


def echoed_fields(body: ResponseBody, id_: str, created_at: int, *, is_stored: bool) -> EchoedFields:
    """The fields that stay.

    Args:
        body: What was asked for.
        id_: Of the response.
        created_at: Unix time, seconds.
        is_stored: It can be asked for later.
    """
    return {
        "id": id_,
        "object": "response",
        "created_at": created_at,
        "model": body.model,
        "background": False,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens or body.max_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": body.thinking.effort, "summary": body.thinking.wanted_summary},
        "service_tier": "default",
        "store": is_stored,
        "temperature": body.temperature,
        "text": {"format": _format(body.format)},
        "tool_choice": _choice(body.tool_choice or "auto"),
        "tools": [_tool(tool) for tool in body.tools or ()],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": body.top_p,
        "truncation": "disabled",
    }


def _format(wanted: TextFormat) -> FormatObject:
    found: FormatObject = {"type": wanted.type}
    if has_value(wanted.schema):
        found["schema"] = wanted.schema
    if wanted.name is not None:
        found["name"] = wanted.name
    if wanted.description is not None:
        found["description"] = wanted.description
    if wanted.strict is not None:
        found["strict"] = wanted.strict
    return found


def _tool(tool: ResponseTool) -> FunctionObject | NamespaceObject:
    if tool.type != "namespace":
        return _function(tool)
    return NamespaceObject(
        name=tool.name or "",
        description=tool.description or "",
        tools=[_function(one) for one in tool.tools or ()],
    )


def _function(tool: Function) -> FunctionObject:
    return FunctionObject(
        name=tool.name or "",
        description=tool.description,
        parameters=tool.parameters,
        strict=tool.strict,
    )


def _choice(choice: str | ToolChoiceObject) -> str | ChosenTools:
    if isinstance(choice, str):
        return choice
    chosen: ChosenTools = {"type": choice.type}
    if choice.name is not None:
        chosen["name"] = choice.name
    if choice.tools is not None:
        chosen |= {"mode": choice.mode or "auto", "tools": [_chosen(tool) for tool in choice.tools]}
    return chosen


def _chosen(tool: NamedTool) -> ChosenTool:
    return {"type": tool.type} if tool.name is None else {"type": tool.type, "name": tool.name}
