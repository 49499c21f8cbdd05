"""Tools, their calls and how long a model thinks: OpenAI's fields for it, and those of local models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias, TypedDict

from msgspec import Meta, Struct

from plugins.raw_fields import NULL, RawObject
from plugins.thinking_models import NO_EFFORTS, ThinkingFields
from plugins.tool_schemas import read_schema
from transports.errors import RequestError
from transports.messages import Reasoning
from transports.tools import (
    MAX_JSON_CHARS,
    MAX_TOOL_CALLS,
    MAX_TOOLS,
    CallId,
    Json,
    Tool,
    ToolCall,
    ToolChoice,
)

# OpenAI has letters, digits, "_" and "-", up to 64; servers of tools put "." and "/" between their names.
FunctionName: TypeAlias = Annotated[str, Meta(pattern=r"^[\w.\-/]{1,128}$")]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class InputFunction(Struct, frozen=True, kw_only=True):
    """What may be called."""

    name: FunctionName
    description: Annotated[str, Meta(max_length=MAX_JSON_CHARS)] | None = None
    # JSON Schema; for the model, which reads it as text.
    parameters: RawObject = NULL
    strict: bool | None = None


class InputTool(Struct, frozen=True, kw_only=True):
    """A tool; only functions are known."""

    type: str
    function: InputFunction | None = None


class FunctionByName(Struct, frozen=True, kw_only=True):
    """Which function."""

    name: str


class ToolByName(Struct, frozen=True, kw_only=True):
    """Which tool."""

    type: str
    function: FunctionByName | None = None


class AllowedTools(Struct, frozen=True, kw_only=True):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[ToolByName], Meta(min_length=1, max_length=MAX_TOOLS)]


class InputToolChoice(Struct, frozen=True, kw_only=True):
    """A tool that must be called, or those that may be."""

    type: str
    function: FunctionByName | None = None
    allowed_tools: AllowedTools | None = None


class CalledFunction(Struct, frozen=True, kw_only=True):
    """What was called."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    arguments: Json


class InputToolCall(Struct, frozen=True, kw_only=True):
    """A call in an earlier turn of the assistant."""

    id: CallId
    function: CalledFunction
    type: Literal["function"] | None = None


InputTools: TypeAlias = Annotated[list[InputTool], Meta(max_length=MAX_TOOLS)]
InputToolCalls: TypeAlias = Annotated[list[InputToolCall], Meta(max_length=MAX_TOOL_CALLS)]


class TemplateFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request may tell a chat template; a template is foreign code, so this is all."""

    enable_thinking: bool | None = None
    # DeepSeek's and Granite's name for it.
    thinking: bool | None = None
    reasoning_effort: Effort | None = None
    # As the field of the request itself.
    thinking_budget: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class ToolTerms(TypedDict):
    """Fields of `ChatRequest`."""

    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    parallel_tool_calls: bool


def read_tools(
    tools: Sequence[InputTool] | None,
    choice: str | InputToolChoice | None,
    parallel_tool_calls: bool | None,
    paths: Sequence[str] = (),
) -> ToolTerms:
    """The tools of a request and which of them are called.

    Args:
        tools: What may be called.
        choice: What is to be called.
        parallel_tool_calls: None is true.
        paths: Where the fields of each function stand, for errors; by default below its tool.

    Raises:
        RequestError: A tool of another kind, two of one name, or a choice that is not among them.
    """
    found: dict[str, Tool] = {}
    for at, tool in enumerate(tools or ()):
        path = paths[at] if paths else f"tools[{at}].function"
        one = _tool(tool, f"tools[{at}]", path)
        if one.name in found:
            raise RequestError(
                f"{path}.name: expected another name, there are two {one.name!r}", param=f"{path}.name"
            )
        found[one.name] = one
    if isinstance(choice, InputToolChoice) and choice.allowed_tools is not None:
        allowed = {_chosen(one.function, found) for one in choice.allowed_tools.tools}
        found = {name: tool for name, tool in found.items() if name in allowed}
    return ToolTerms(
        tools=tuple(found.values()),
        tool_choice=_choice(choice, found),
        parallel_tool_calls=parallel_tool_calls is not False,
    )


def read_calls(calls: Sequence[InputToolCall] | None) -> tuple[ToolCall, ...]:
    """The calls of an earlier turn."""
    return tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in calls or ()
    )


def read_reasoning(effort: Effort | None, budget: int | None, template: TemplateFields | None) -> Reasoning:
    """Whether and how long the model thinks; the request's own fields go before those of its template."""
    given = template or TemplateFields()
    effort = effort or given.reasoning_effort
    switches = (given.enable_thinking, given.thinking, None if effort is None else effort != "none")
    return Reasoning(
        enabled=next((one for one in switches if one is not None), None),
        # The templates of models here know no "max".
        effort="xhigh" if effort == "max" else effort,
        max_tokens=given.thinking_budget if budget is None else budget,
    )


def thinking_fields(
    effort: Effort | None,
    budget: int | None,
    template: TemplateFields | None,
    effort_name: str = "reasoning_effort",
) -> ThinkingFields:
    """Those of the fields of `read_reasoning` that have the model think.

    Args:
        effort: Its field of the request.
        budget: Its field of the request.
        template: What else is told to the chat template.
        effort_name: The path of *effort*.
    """
    if read_reasoning(effort, budget, template).enabled is False:
        return ThinkingFields()
    given = template or TemplateFields()
    wanting = {
        effort_name: effort not in NO_EFFORTS,
        "chat_template_kwargs.enable_thinking": given.enable_thinking,
        "chat_template_kwargs.thinking": given.thinking,
        "chat_template_kwargs.reasoning_effort": given.reasoning_effort not in NO_EFFORTS,
    }
    allowing = {"thinking_budget": budget, "chat_template_kwargs.thinking_budget": given.thinking_budget}
    return ThinkingFields(
        wanting=[name for name, is_wanting in wanting.items() if is_wanting],
        allowing=[name for name, num_tokens in allowing.items() if num_tokens],
    )


def _tool(tool: InputTool, tool_path: str, path: str) -> Tool:
    if tool.type != "function":
        raise RequestError(
            f"{tool_path}.type: expected function, the only kind here", param=f"{tool_path}.type"
        )
    function = tool.function
    if function is None:
        raise RequestError(f"{path}: required, and missing", param=path)
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=read_schema(function.parameters, f"{path}.parameters"),
        strict=bool(function.strict),
    )


def _choice(choice: str | InputToolChoice | None, tools: Mapping[str, Tool]) -> ToolChoice:
    match choice:
        case None | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice(mode="none")
        case "required":
            if not tools:
                raise RequestError("tool_choice: required only with tools", param="tool_choice")
            return ToolChoice(mode="required")
        case InputToolChoice(type="function"):
            return ToolChoice(mode="required", name=_chosen(choice.function, tools))
        case InputToolChoice(type="allowed_tools", allowed_tools=AllowedTools(mode=mode)):
            return ToolChoice(mode=mode)
    raise RequestError(
        'tool_choice: expected "none", "auto", "required", a function or allowed_tools', param="tool_choice"
    )


def _chosen(function: FunctionByName | None, tools: Mapping[str, Tool]) -> str:
    if function is None or function.name not in tools:
        raise RequestError("tool_choice: expected the name of one of the tools", param="tool_choice")
    return function.name
