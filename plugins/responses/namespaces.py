"""Functions that a request groups in namespaces: of one flat list for the model, and told apart again.

Codex has the tools of each MCP server in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from plugins.openai.tools import InputFunction
from plugins.responses.requests import Function, ResponseTool
from transports.errors import RequestError
from transports.tools import MAX_TOOLS

# As MCP's clients join the names of a server and its tool.
_SEPARATOR = "__"
# `ToolName`.
MAX_NAME_CHARS = 256


class Called(NamedTuple):
    """A function as the client knows it."""

    name: str
    namespace: str | UnsetType = UNSET


# A name as the model knows it -> what it stands for.
Namespaces: TypeAlias = Mapping[str, Called]


def flat_name(name: str, namespace: str | None, path: str) -> str:
    """The name by which the model knows a function.

    Args:
        name: Of the function.
        namespace: Where it is in one.
        path: Where it stands in the request, for errors.

    Raises:
        RequestError: Both together are too long.
    """
    if not namespace:
        return name
    flat = f"{namespace}{_SEPARATOR}{name}"
    if len(flat) > MAX_NAME_CHARS:
        raise RequestError(
            f"{path}.name: expected at most {MAX_NAME_CHARS} characters, with its namespace, got {len(flat)}",
            param=f"{path}.name",
        )
    return flat


def namespaces_of(tools: Sequence[ResponseTool] | None) -> Namespaces:
    """The functions of *tools* that are in a namespace."""
    return {
        flat_name(function.name, tool.name, "tools"): Called(function.name, tool.name)
        for tool in tools or ()
        if tool.type == "namespace" and tool.name
        for function in tool.tools or ()
        if function.name
    }


def flat_functions(tools: Sequence[ResponseTool] | None) -> dict[str, InputFunction]:
    """Where a function stands in the request -> the function, by the name that the model knows.

    Raises:
        RequestError: A tool that is neither a function nor a namespace of some, or too many of them.
    """
    found = dict(placed for at, tool in enumerate(tools or ()) for placed in _functions(tool, f"tools[{at}]"))
    if len(found) > MAX_TOOLS:
        raise RequestError(
            f"tools: expected at most {MAX_TOOLS} functions, with those in namespaces, got {len(found)}",
            param="tools",
        )
    return found


def without_foreign(tools: Sequence[ResponseTool] | None) -> list[ResponseTool]:
    """The functions; other tools OpenAI or the client would run by itself."""
    kept: list[ResponseTool] = []
    for tool in tools or ():
        if tool.type == "function":
            kept.append(tool)
        elif tool.type == "namespace":
            functions = [one for one in tool.tools or () if one.type == "function"]
            if functions:
                kept.append(msgspec.structs.replace(tool, tools=functions))
    return kept


def num_functions(tools: Sequence[ResponseTool] | None) -> int:
    """How many tools there are, those in namespaces one by one."""
    return sum(len(tool.tools or ()) if tool.type == "namespace" else 1 for tool in tools or ())


def _functions(tool: ResponseTool, path: str) -> Iterator[tuple[str, InputFunction]]:
    if tool.type != "namespace":
        yield path, _function(tool, path, tool.description)
        return
    if tool.name is None:
        raise RequestError(f"{path}.name: required, and missing", param=f"{path}.name")
    # A chat template knows no groups: what is said of all of them stands at the first.
    about = tool.description
    for at, one in enumerate(tool.tools or ()):
        said = "\n".join(filter(None, (about, one.description)))
        place = f"{path}.tools[{at}]"
        function = _function(one, place, said)
        name = flat_name(function.name, tool.name, place)
        yield place, msgspec.structs.replace(function, name=name)
        about = None


def _function(tool: Function, path: str, description: str | None) -> InputFunction:
    if tool.type != "function":
        raise RequestError(
            f"{path}.type: expected function, or namespace with functions, got {tool.type[:40]!r}; "
            "with http.ignore_unusable_fields = true others are left out",
            param=f"{path}.type",
        )
    if tool.name is None:
        raise RequestError(f"{path}.name: required, and missing", param=f"{path}.name")
    return InputFunction(
        name=tool.name, description=description, parameters=tool.parameters, strict=tool.strict
    )
