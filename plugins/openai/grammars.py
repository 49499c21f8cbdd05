"""What an answer must keep to, under OpenAI's name or vLLM's, to the protocol's grammar."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import msgspec

from plugins.openai.requests import ChatBody, GenerateBody, JsonSchema, StructuredOutputs
from plugins.raw_fields import has_value
from transports.errors import RequestError
from transports.messages import MAX_GRAMMAR_CHARS, Grammar

# The schema of any JSON object.
ANY_OBJECT = '{"type": "object"}'
_FORMATS = "text, json_object or json_schema"


def grammar_of(body: GenerateBody) -> Grammar | None:
    """The one grammar that the request names; None if it names none.

    Raises:
        RequestError: It names several, or one that is none.
    """
    found = [*_of_response_format(body), *_guided(body), *_structured(body.structured_outputs)]
    if len(found) > 1:
        names = [one.param.partition(".")[0] for one in found]
        raise RequestError(
            f"{names[1]}: an answer keeps to one grammar; send it or {names[0]}", param=found[1].param
        )
    return found[0] if found else None


def _of_response_format(body: GenerateBody) -> Iterator[Grammar]:
    wanted = body.response_format if isinstance(body, ChatBody) else None
    if wanted is None or wanted.type == "text":
        return
    if wanted.type == "json_object":
        yield Grammar(kind="json_schema", text=ANY_OBJECT, param="response_format")
    elif wanted.type == "json_schema":
        schema = wanted.json_schema or JsonSchema()
        if not has_value(schema.schema):
            param = "response_format.json_schema.schema"
            raise RequestError(f"{param}: required, and missing", param=param)
        yield schema_grammar(schema.schema, "response_format.json_schema.schema")
    else:
        raise RequestError(
            f"response_format.type: expected {_FORMATS}, got {wanted.type[:40]!r}",
            param="response_format.type",
        )


def _guided(body: GenerateBody) -> Iterator[Grammar]:
    if has_value(body.guided_json):
        yield schema_grammar(body.guided_json, "guided_json")
    if body.guided_regex is not None:
        yield Grammar(kind="regex", text=body.guided_regex, param="guided_regex")
    if body.guided_choice is not None:
        yield _choice(body.guided_choice, "guided_choice")
    if body.guided_grammar is not None:
        yield Grammar(kind="lark", text=body.guided_grammar, param="guided_grammar")


def _structured(wanted: StructuredOutputs | None) -> Iterator[Grammar]:
    if wanted is None:
        return
    name = "structured_outputs"
    if has_value(wanted.structural_tag):
        raise RequestError(f"{name}.structural_tag: not supported", param=f"{name}.structural_tag")
    if has_value(wanted.json):
        yield schema_grammar(wanted.json, f"{name}.json")
    if wanted.json_object:
        yield Grammar(kind="json_schema", text=ANY_OBJECT, param=f"{name}.json_object")
    if wanted.regex is not None:
        yield Grammar(kind="regex", text=wanted.regex, param=f"{name}.regex")
    if wanted.choice is not None:
        yield _choice(wanted.choice, f"{name}.choice")
    if wanted.grammar is not None:
        yield Grammar(kind="lark", text=wanted.grammar, param=f"{name}.grammar")


def schema_grammar(schema: msgspec.Raw, param: str) -> Grammar:
    """A schema as it was sent: the order of its properties is that of the answer.

    Raises:
        RequestError: It is none, or too long.
    """
    text = bytes(schema).decode()
    if text.startswith('"'):
        text = msgspec.json.decode(schema, type=str)
    if not text.startswith("{"):
        raise RequestError(f"{param}: expected a JSON Schema, an object", param=param)
    return Grammar(kind="json_schema", text=_bounded(text, param), param=param)


def _choice(choices: Sequence[str], param: str) -> Grammar:
    quoted = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    return Grammar(kind="lark", text=_bounded(f"start: {quoted}", param), param=param)


def _bounded(text: str, param: str) -> str:
    if len(text) > MAX_GRAMMAR_CHARS:
        raise RequestError(
            f"{param}: expected at most {MAX_GRAMMAR_CHARS} characters, got {len(text)}", param=param
        )
    return text
