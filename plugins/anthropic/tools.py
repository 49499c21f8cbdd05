"""Tools, which of them are called, and how long a model thinks: Anthropic's fields for it."""

from __future__ import annotations

from collections.abc import Sequence

from plugins.anthropic.known_tools import known_tool
from plugins.anthropic.requests import CountBody, MessageTool, MessageToolChoice
from plugins.openai.tools import ToolTerms
from plugins.thinking_models import ThinkingFields
from plugins.tool_schemas import read_schema
from transports.errors import RequestError
from transports.messages import Reasoning
from transports.tools import MAX_JSON_CHARS, Tool, ToolChoice


def read_tools(tools: Sequence[MessageTool] | None, choice: MessageToolChoice | None) -> ToolTerms:
    """The tools of a request and which of them are called.

    Raises:
        RequestError: A tool that nobody here could run, two of one name, or a choice that is not among them.
    """
    found: dict[str, Tool] = {}
    for at, tool in enumerate(tools or ()):
        one = _tool(tool, f"tools[{at}]")
        if one.name in found:
            raise RequestError(
                f"tools[{at}].name: expected another name, there are two {one.name!r}",
                param=f"tools[{at}].name",
            )
        found[one.name] = one
    return ToolTerms(
        tools=tuple(found.values()),
        tool_choice=_choice(choice, found),
        parallel_tool_calls=choice is None or choice.disable_parallel_tool_use is not True,
    )


def runs_here(tool: MessageTool) -> bool:
    """Whether the client itself runs the tool; others run on Anthropic's servers."""
    return tool.type in (None, "custom") or known_tool(tool.type or "") is not None


def may_leave_out_tools(body: CountBody) -> bool:
    """Whether there are tools, none of which has to be called."""
    return bool(body.tools) and (body.tool_choice is None or body.tool_choice.type in ("auto", "none"))


def eager_tools(tools: Sequence[MessageTool] | None) -> frozenset[str]:
    """The names of tools whose input is streamed before it is whole."""
    return frozenset(tool.name for tool in tools or () if tool.name and tool.eager_input_streaming)


def read_reasoning(body: CountBody) -> Reasoning:
    """Whether and how long the model thinks: only if it is asked to, as with Anthropic."""
    thinking = body.thinking
    effort = body.output_config.effort if body.output_config else None
    budget: int | None = None
    enabled: bool | None = False
    if thinking is not None and thinking.type == "enabled":
        if thinking.budget_tokens is None:
            param = "thinking.budget_tokens"
            raise RequestError(f"{param}: required, and missing", param=param)
        budget, enabled = thinking.budget_tokens, True
    elif thinking is not None and thinking.type != "disabled":
        # It is the model that decides.
        enabled = None
    return Reasoning(enabled=enabled, effort="xhigh" if effort == "max" else effort, max_tokens=budget)


def thinking_of(body: CountBody) -> ThinkingFields:
    """The fields that let the model think: none of them has it think, as agents send them with every turn."""
    given = {
        "thinking": body.thinking is not None and body.thinking.type != "disabled",
        "output_config.effort": body.output_config is not None and body.output_config.effort is not None,
    }
    return ThinkingFields(allowing=[name for name, is_given in given.items() if is_given])


def _tool(tool: MessageTool, path: str) -> Tool:
    if not runs_here(tool):
        raise RequestError(
            f"{path}.type: tools of type {tool.type!r} run at Anthropic, not here; leave it out",
            param=f"{path}.type",
        )
    known = known_tool(tool.type or "")
    if tool.name is None:
        raise RequestError(f"{path}.name: required, and missing", param=f"{path}.name")
    param = f"{path}.input_schema"
    schema = known.input_schema if known else read_schema(tool.input_schema, param)
    if not schema:
        raise RequestError(f"{param}: required, and missing", param=param)
    return Tool(
        name=tool.name,
        description=_described(tool, known.description if known else "", path),
        parameters=schema,
        strict=bool(tool.strict),
    )


def _described(tool: MessageTool, default: str, path: str) -> str:
    """What the model is told of a tool; examples of its input are part of it."""
    lines = [tool.description or default]
    lines += [f"Example input: {bytes(example).decode()}" for example in tool.input_examples or ()]
    text = "\n".join(filter(None, lines))
    if len(text) > MAX_JSON_CHARS:
        raise RequestError(
            f"{path}.input_examples: expected at most {MAX_JSON_CHARS} characters, description included",
            param=f"{path}.input_examples",
        )
    return text


def _choice(choice: MessageToolChoice | None, tools: dict[str, Tool]) -> ToolChoice:
    match choice:
        case None | MessageToolChoice(type="auto"):
            return ToolChoice()
        case MessageToolChoice(type="none"):
            return ToolChoice(mode="none")
        case MessageToolChoice(type="any"):
            if not tools:
                raise RequestError("tool_choice: any only with tools", param="tool_choice")
            return ToolChoice(mode="required")
    if choice.name not in tools:
        raise RequestError(
            "tool_choice.name: expected the name of one of the tools", param="tool_choice.name"
        )
    return ToolChoice(mode="required", name=choice.name)
