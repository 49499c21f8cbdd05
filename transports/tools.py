"""What a request says of tools, and what an answer says of their calls: parts of messages.py.

Schemas and arguments travel as JSON texts: only a worker's chat template and a client look into them.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from transports.envelope import Message, RequestId

# Of one request.
MAX_TOOLS = 512
# In one turn of the conversation, and in one answer.
MAX_TOOL_CALLS = 128
# Of one call or one schema, as JSON. A whole file may be an argument.
MAX_JSON_CHARS = 1024 * 1024

ToolName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
CallId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Json: TypeAlias = Annotated[str, Meta(max_length=MAX_JSON_CHARS)]
CallIndex: TypeAlias = Annotated[int, Meta(ge=0)]


class Tool(Message, frozen=True, kw_only=True):
    """A function that the model may ask the client to call."""

    name: ToolName
    description: Annotated[str, Meta(max_length=MAX_JSON_CHARS)] = ""
    # JSON Schema of its arguments, an object; "": it takes none.
    parameters: Json = ""
    # OpenAI's; arguments are held to the schema, strict or not, where calls are forced.
    strict: bool = False


class ToolChoice(Message, frozen=True, kw_only=True):
    """Whether tools are called."""

    mode: Literal["none", "auto", "required"] = "auto"
    # With "required": this one.
    name: ToolName | None = None


class ToolCall(Message, frozen=True, kw_only=True):
    """A call in a turn of the assistant."""

    id: CallId
    name: ToolName
    # A JSON object.
    arguments: Json


class ToolCallBegin(Message, tag="tool_call", frozen=True, kw_only=True):
    """An item of events: the model calls a tool. Followed by ToolCallDelta and then ToolCallEnd."""

    id: RequestId
    # Counts the calls of an answer from 0 on; they come one after the other.
    index: CallIndex
    # Made up by the worker; as good as unique.
    call_id: CallId
    name: ToolName


class ToolCallDelta(Message, tag="tool_arguments", frozen=True, kw_only=True):
    """An item of events: more of a call's arguments, which all together are a JSON object."""

    id: RequestId
    index: CallIndex
    arguments: str


class ToolCallEnd(Message, tag="tool_call_end", frozen=True, kw_only=True):
    """An item of events: nothing follows of this call."""

    id: RequestId
    index: CallIndex
    # The model did not keep to its format or was cut short: it was no call. What it wrote follows as
    # text; who gathers the answer takes the call back.
    is_broken: bool = False
