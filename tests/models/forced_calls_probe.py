"""Random walks through the grammars of forced calls, and what mlx-lm's parsers read of them.

Prints a JSON object a walk: the family, the schema, what was written, and the calls that were read.
"""

from __future__ import annotations

import importlib
import json
import sys
from random import Random

from argument_schemas import arguments_schema
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from transports.errors import RequestError
from transports.messages import ChatMessage, ChatRequest
from transports.tools import Tool, ToolCallBegin, ToolCallDelta, ToolCallEnd, ToolChoice
from workers.generation import tool_calls
from workers.generation.answers import AnswerFormat, AnswerReader
from workers.generation.call_grammars import forced_calls
from workers.generation.call_layouts import LAYOUTS
from workers.generation.grammars import LIMITS
from workers.generation.tool_calls import tools_of
from workers.generation.tool_formats import call_format

ID = "request-1"
MAX_TOKENS = 4000
# From here on a walk looks for the end.
CLOSING_TOKENS = 100
# What models of these families may have as one token.
TAGS = [
    *("<tool_call>", "</tool_call>", "<parameter=at>", "</parameter>", "<arg_key>", "</arg_key>"),
    *("<arg_value>", "</arg_value>", "<longcat_tool_call>", "</longcat_tool_call>", "<longcat_arg_key>"),
    *("</longcat_arg_key>", "<longcat_arg_value>", "</longcat_arg_value>", "<minimax:tool_call>"),
    *("</minimax:tool_call>", "</invoke>", "<|open|>", "<|close|>", "<|sep|>", "</param>", "</function>"),
    *("<atem:function_calls>", "</atem:function_calls>", "</atem:invoke>", "</atem:parameter>"),
    *("<|tool_call_start|>", "<|tool_call_end|>", "<|tool_call>", "<tool_call|>", '<|"|>', "<escape>"),
    *(
        "<start_function_call>",
        "<end_function_call>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "<|tool_calls_section_begin|>",
    ),
    *(
        "<|tool_calls_section_end|>",
        "<|tool_call_begin|>",
        "<|tool_call_end|>",
        "<|tool_call_argument_begin|>",
    ),
]
SPICE = [
    *("</", "<|", "|>", "null", "NULL", "true", "None", "nan", "1e999", "]]>", "<![CDATA[", "\\n", '\\"'),
    *(
        "</parameter",
        "<|tool_call_end",
        "<|close",
        "</par",
        "meter>",
        "<![",
        "CDATA[",
        "{a:",
        ",b:",
        "call:x{",
    ),
    *("\n</parameter>", "Paris", " and ", "größe", "2024-", "é", "</div>", "<|open|>json"),
]


def alphabet() -> dict[int, str]:
    """GPT-2's stand-ins for bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}


class Vocabulary:
    """All bytes, some pieces, and tags that are tokens of their own or not."""

    def __init__(self, *, tags_are_tokens: bool) -> None:
        signs = alphabet()
        self.bytes = [bytes([b]) for b in range(256)]
        self.bytes += [piece.encode() for piece in dict.fromkeys([*SPICE, *TAGS])]
        added = ["<eos>", *(f"{tag}" for tag in dict.fromkeys(TAGS) if tags_are_tokens)]
        if tags_are_tokens:
            self.bytes = self.bytes[: 256 + len(SPICE)]
        names = ["".join(signs[b] for b in piece) for piece in self.bytes]
        self.ids = {name: len(names) + at for at, name in enumerate(added)}
        self.bytes += [name.encode() for name in added]
        self.eos = self.ids["<eos>"]
        fields = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        file = {
            "version": "1.0",
            "added_tokens": [
                {"id": id_, "content": name, "special": True, **fields} for name, id_ in self.ids.items()
            ],
            "pre_tokenizer": level,
            "decoder": level,
            "model": {"type": "BPE", "vocab": {name: at for at, name in enumerate(names)}, "merges": []},
        }
        self.tokenizer = LLTokenizer(json.dumps(file), n_vocab=len(self.bytes), eos_token=[self.eos])
        # What ends things, best first.
        ends = [name for name in (*self.ids, *TAGS) if name[1:2] in "/|e[" or name == "<escape>"]
        known = {piece: at for at, piece in enumerate(self.bytes)}
        self.enders = [known[name.encode()] for name in ends if name.encode() in known]
        self.enders += [known[sign] for sign in (b'"', b"}", b"]", b")", b",", b"\n")]
        self.words = [at for at, piece in enumerate(self.bytes[:256]) if piece.isalnum()]


def walk(vocabulary: Vocabulary, matcher: LLMatcher, random: Random) -> str | None:
    """A text that the grammar allows; None where the walk found no end."""
    written = bytearray()
    for step in range(MAX_TOKENS):
        mask = matcher.compute_bitmask()
        allowed = [at for at in range(len(vocabulary.bytes)) if mask[at // 8] >> (at % 8) & 1]
        if not allowed:
            return None
        good = set(allowed)
        if step > CLOSING_TOKENS or random.random() < 0.05:
            choice = vocabulary.eos if vocabulary.eos in good else None
            enders = [at for at in vocabulary.enders if at in good]
            choice = choice or (random.choice(enders) if enders else None)
            if choice is None or random.random() < 0.1:
                words = [at for at in vocabulary.words if at in good]
                choice = random.choice(words or allowed)
        else:
            pieces = [at for at in allowed if at >= 256 and at != vocabulary.eos]
            choice = random.choice(pieces if pieces and random.random() < 0.4 else allowed)
        if choice == vocabulary.eos:
            return written.decode()
        matcher.consume_token(choice)
        written += vocabulary.bytes[choice]
        if matcher.is_error():
            raise RuntimeError(f"{matcher.get_error()} after {bytes(written)[-300:]!r}")
        if matcher.is_stopped():
            return written.decode()
    return None


def called(form: AnswerFormat, request: ChatRequest, text: str, random: Random) -> tuple[list[object], str]:
    """The calls in *text*, which comes in pieces, and what is said beside them."""
    reader = AnswerReader(ID, form, tools_of(request))
    items, at = [], 0
    while at < len(text):
        size = random.randint(1, 30)
        items += reader.feed(text[at : at + size])
        at += size
        if reader.is_complete:
            break
    items += reader.finish(is_whole=True)
    calls: dict[int, list[str]] = {}
    for item in items:
        if isinstance(item, ToolCallBegin):
            calls[item.index] = [item.name, ""]
        elif isinstance(item, ToolCallDelta):
            calls[item.index][1] += item.arguments
        elif isinstance(item, ToolCallEnd) and item.is_broken:
            del calls[item.index]
    said = "".join(getattr(item, "text", "") for item in items)
    return list(calls.values()), said


def main() -> None:
    """Arguments: how many walks a family, the first seed, and the families; none: all."""
    num_walks, first, *families = sys.argv[1:]
    # What is read is the matter here, not how busy the machine is.
    tool_calls.MAX_PARSE_S = 10.0
    vocabularies = [Vocabulary(tags_are_tokens=which) for which in (False, True)]
    for family in families or LAYOUTS:
        parser = importlib.import_module(f"mlx_lm.tool_parsers.{family}")
        form = AnswerFormat(
            calls=call_format(family, parser.tool_call_start, parser.tool_call_end, parser.parse_tool_call)
        )
        for seed in range(int(first), int(first) + int(num_walks)):
            random = Random(seed)
            vocabulary = vocabularies[seed % 2]
            schemas = [arguments_schema(2 * seed + at, family) for at in (0, 1)]
            request = ChatRequest(
                messages=(ChatMessage(role="user", content="x"),),
                tools=tuple(
                    Tool(name=f"f{at}", parameters=json.dumps(one)) for at, one in enumerate(schemas)
                ),
                parallel_tool_calls=seed % 3 > 0,
            )
            tools = tools_of(request)
            assert tools is not None
            assert form.calls is not None
            choice = ToolChoice(mode="required", name="f1" if seed % 5 == 0 else None)
            said: dict[str, object] = {"family": family, "seed": seed, "schemas": schemas}
            said |= {"parallel": tools.parallel, "name": choice.name}
            try:
                grammar = forced_calls(form.calls, tools, choice, vocabulary.ids.get)
                matcher = LLMatcher(
                    vocabulary.tokenizer,
                    LLMatcher.grammar_from_lark(grammar.text),
                    log_level=0,
                    limits=LLParserLimits(**LIMITS, verbose_errors=False),
                )
                said["compiled"] = "" if not matcher.is_error() else matcher.get_error()
                if not matcher.is_error():
                    text = walk(vocabulary, matcher, random)
                    said["text"] = text
                    if text is not None:
                        said["calls"], said["said"] = called(form, request, text, random)
            except RequestError as e:
                said["refused"] = str(e)
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
