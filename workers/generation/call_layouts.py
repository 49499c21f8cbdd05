"""How families of models write their calls, in pieces, for grammars. Knows no llguidance."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from workers.generation.bare_arguments import Bare
from workers.generation.tagged_arguments import Tags


def _is_identifier(name: str) -> bool:
    """Whether Python takes it for the name of an argument."""
    is_itself = unicodedata.normalize("NFKC", name) == name
    return is_itself and name.isidentifier() and not keyword.iskeyword(name)


def _is_dotted(name: str) -> bool:
    return all(map(_is_identifier, name.split(".")))


def _is_attribute(name: str) -> bool:
    """Whether it may stand between XML's quotes as it is."""
    return re.fullmatch(r"""[^\s<>"'&]+""", name) is not None


@dataclass(frozen=True, slots=True)
class Layout:
    """How a family writes calls, in pieces: tags are pieces of their own.

    NAME is the tool's, and the piece NUMBER any number.
    """

    # Once, around all calls.
    before: tuple[str, ...]
    after: tuple[str, ...]
    # Around the arguments of each.
    head: tuple[str, ...]
    tail: tuple[str, ...]
    between: tuple[str, ...] = ()
    # How arguments are written; None: all of them are one JSON object.
    arguments: Tags | Bare | None = None
    # Names of tools that the family's parser reads.
    is_name: Callable[[str], object] = re.compile(r"""[^\s"'<>\[\]{}:]+""").fullmatch


def _glm(prefix: str, around: str, end: str) -> Tags:
    """GLM's, and those that are like them."""
    return Tags(
        before=(f"<{prefix}arg_key>", "KEY", f"</{prefix}arg_key>", around, f"<{prefix}arg_value>"),
        end=f"</{prefix}arg_value>",
        after=(around,),
        others=(end,),
        strips=True,
    )


_GLM = Layout(
    before=(),
    after=(),
    head=("<tool_call>", "NAME\n"),
    tail=("</tool_call>",),
    between=("\n",),
    arguments=_glm("", "\n", "</tool_call>"),
)

LAYOUTS = {
    "json_tools": Layout(
        before=(),
        after=(),
        head=("<tool_call>", '\n{"name": "NAME", "arguments": '),
        tail=("}\n", "</tool_call>"),
        between=("\n",),
    ),
    "mistral": Layout(before=(), after=(), head=("[TOOL_CALLS]", "NAME", "[ARGS]"), tail=()),
    "kimi_k2": Layout(
        before=("<|tool_calls_section_begin|>",),
        after=("<|tool_calls_section_end|>",),
        head=("<|tool_call_begin|>", "functions.NAME:0", "<|tool_call_argument_begin|>"),
        tail=("<|tool_call_end|>",),
    ),
    "kimi_k3": Layout(
        before=("<|open|>", "tools", "<|sep|>"),
        after=("<|close|>", "tools", "<|sep|>"),
        head=("<|open|>", 'call tool="NAME" index="', "NUMBER", '"', "<|sep|>"),
        tail=("<|close|>", "call", "<|sep|>"),
        arguments=Tags(
            before=("<|open|>", 'argument key="KEY" type="TYPE"', "<|sep|>"),
            end="<|close|>",
            after=("argument", "<|sep|>"),
            others=("<|open|>",),
            is_key=_is_attribute,
        ),
        is_name=_is_attribute,
    ),
    "qwen3_coder": Layout(
        before=(),
        after=(),
        head=("<tool_call>", "\n<function=NAME>\n"),
        tail=("</function>\n", "</tool_call>"),
        between=("\n",),
        arguments=Tags(
            before=("<parameter=KEY>",),
            pad="\n",
            end="</parameter>",
            after=("\n",),
            others=("</tool_call>",),
            has_null=True,
        ),
    ),
    "glm47": _GLM,
    "laguna": _GLM,
    "longcat": Layout(
        before=(),
        after=(),
        head=("<longcat_tool_call>", "NAME\n"),
        tail=("</longcat_tool_call>",),
        between=("\n",),
        arguments=_glm("longcat_", "\n", "</longcat_tool_call>"),
    ),
    "minimax_m2": Layout(
        before=("<minimax:tool_call>", "\n"),
        after=("</minimax:tool_call>",),
        head=('<invoke name="NAME">\n',),
        tail=("</invoke>\n",),
        arguments=Tags(
            before=('<parameter name="KEY">',),
            end="</parameter>",
            after=("\n",),
            others=("</invoke>", "</minimax:tool_call>"),
            strips=True,
            has_null=True,
        ),
    ),
    "minicpm5": Layout(
        before=(),
        after=(),
        head=("<function name=", '"NAME">'),
        tail=("</function>",),
        arguments=Tags(
            before=('<param name="KEY">',),
            end="</param>",
            others=("</function>",),
            texts="cdata",
            strips=True,
            has_null=True,
        ),
    ),
    "muse_spark": Layout(
        before=("<atem:function_calls>", "\n"),
        after=("</atem:function_calls>",),
        head=('<atem:invoke name="NAME">\n',),
        tail=("</atem:invoke>\n",),
        arguments=Tags(
            before=('<atem:parameter name="KEY">',),
            end="</atem:parameter>",
            after=("\n",),
            others=("</atem:function_calls>",),
            strips=True,
            reads_json=True,
        ),
    ),
    "pythonic": Layout(
        before=("<|tool_call_start|>", "["),
        after=("]", "<|tool_call_end|>"),
        head=("NAME(",),
        tail=(")",),
        between=(", ",),
        arguments=Tags(
            before=("KEY=",),
            between=", ",
            others=("<|tool_call_end|>",),
            texts="json",
            is_key=_is_identifier,
        ),
        is_name=_is_dotted,
    ),
    "gemma4": Layout(
        before=(),
        after=(),
        head=("<|tool_call>", "call:NAME{"),
        tail=("}", "<tool_call|>"),
        arguments=Bare(quote='<|"|>', others=("<tool_call|>",)),
        is_name=re.compile("[0-9A-Za-z_-]+").fullmatch,
    ),
    "function_gemma": Layout(
        before=(),
        after=(),
        head=("<start_function_call>", "call:NAME{"),
        tail=("}", "<end_function_call>"),
        arguments=Bare(quote="<escape>", others=("}", "<end_function_call>"), is_nested=False),
        is_name=re.compile("[0-9A-Za-z_]+").fullmatch,
    ),
}
