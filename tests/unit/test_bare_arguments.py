"""Arguments as Gemma's models write them; that they are read, tests/models/test_forced_calls.py shows."""

from __future__ import annotations

import json

import pytest

from transports.errors import TaskNotSupported
from workers.generation.bare_arguments import Bare, bare_rules
from workers.generation.shared_rules import SharedRules

BARE = Bare(quote="<q>", others=("</call>",))
FLAT = Bare(quote="<q>", others=("}",), is_nested=False)


def rules(properties: object, required: tuple[str, ...] = (), bare: Bare = BARE, **more: object) -> str:
    schema = {"type": "object", "properties": properties, "required": [*required], **more}
    shared = SharedRules()
    own = [*bare_rules(bare, schema, 0, json.dumps, {}, shared)]
    return "\n".join([*own, *shared.lines()])


def test_names_are_bare_and_sorted_and_texts_are_quoted() -> None:
    text = rules({"b": {"type": "string"}, "A": {"enum": ["x", 1, None]}}, ("A",))

    assert '"A" ":" value0_' in text
    assert '"<q>" "x" "<q>" | "1" | "null"' in text
    assert r'(/(?s:.)*/ & ~/(?s:.*)(<q>|<\/call>)(?s:.*)/) "<q>"' in text
    # First what is required, then what may be.
    assert "args0_1: (" in text
    assert text.index('"A"') < text.index('"b"')


def test_a_name_that_is_no_word_is_quoted() -> None:
    assert '"<q>" "x-y" "<q>" ":"' in rules({"x-y": {"type": "boolean"}})


def test_objects_and_arrays_are_within_each_other() -> None:
    text = rules(
        {"at": {"type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": 1, "maxItems": 3}},
        **{"$defs": {"node": {"type": "object", "properties": {"in": {"$ref": "#/$defs/node"}}}}},
    )

    assert '"[" (ref0_1 ("," ref0_1){0,2}) "]"' in text
    assert text.count("\nref0_1: ") == 1


def test_what_may_be_anything_ends_at_some_depth() -> None:
    text = rules({"at": {}})

    assert "any0_4: " in text
    assert "any0_0: " in text
    assert "any0_5" not in text


def test_a_flat_format_has_no_arrays_within_anything() -> None:
    assert "any0_1" not in rules({"at": {}}, bare=FLAT)


@pytest.mark.parametrize(
    "property_",
    [
        {"type": "string", "pattern": "(?=x)"},
        {"type": "object", "patternProperties": {"x": {}}},
        {"type": "object", "required": ["a"]},
        {"type": "array", "uniqueItems": True},
        {"type": "array", "items": False, "minItems": 1},
        {"allOf": [{"type": "string"}, {"maxLength": 3}]},
        {"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]},
        {"anyOf": [{"type": "string"}], "maxLength": 3},
        {"enum": ["</call>"]},
        {"enum": [1], "type": "string"},
        {"$ref": "#"},
        {"type": "date"},
        False,
    ],
    ids=str,
)
def test_what_has_no_grammar_is_refused_by_its_name(property_: object) -> None:
    with pytest.raises(TaskNotSupported) as refused:
        rules({"at": property_})

    assert str(refused.value.param).startswith("tools[0].function.parameters.properties.at")


@pytest.mark.parametrize("property_", [{"type": "array"}, {"type": "object"}, {"const": [1]}], ids=str)
def test_a_flat_format_refuses_what_is_nested(property_: object) -> None:
    with pytest.raises(TaskNotSupported, match="its format has no"):
        rules({"at": property_}, bare=FLAT)
