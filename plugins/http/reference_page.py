"""The page of /docs: what /openapi.json says, for people. No scripts, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

# Any: JSON that we wrote ourselves.
from typing import Any

from plugins.http.openapi import EVENTS, SCHEMA

# Stands in the page for where it came from.
BASE = "{base}"

_STYLE = Path(__file__).with_name("reference.css").read_text()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Our own style sheet and nothing else: no script, no form, no frame.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
}


def page(document: Mapping[str, Any]) -> str:
    """The whole page; `BASE` is still to be replaced by the address that it is asked at."""
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    groups = {
        tag["name"]: [one for one in operations if tag["name"] in one[2]["tags"]] for tag in document["tags"]
    }
    schemas = document["components"]["schemas"]
    title = f"{document['info']['title']} {document['info']['version']}"
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">',
            f"<title>{escape(title)}: the HTTP API</title><style>{_STYLE}</style></head><body>",
            _navigation(groups),
            f"<main><h1>{escape(title)} <small>the HTTP API</small></h1>",
            f"<p>{_words(document['info']['description'])}</p>",
            '<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>',
            *(_group(name, found, document) for name, found in groups.items()),
            '<h2 id="types">Types</h2>',
            *(_type(name, schemas[name]) for name in sorted(schemas, key=_short)),
            "</main></body></html>",
        )
    )


def _navigation(groups: Mapping[str, list[tuple[str, str, Any]]]) -> str:
    parts = []
    for name, found in groups.items():
        links = "".join(
            f'<li><a href="#{operation["operationId"]}"><b class="{method}">{method.upper()}</b>'
            f"<span>{escape(path)}</span></a></li>"
            for method, path, operation in found
        )
        parts.append(f"<h2>{escape(name)}</h2><ul>{links}</ul>")
    return f'<nav>{"".join(parts)}<p><a href="#types">Types</a></p></nav>'


def _group(name: str, found: Iterable[tuple[str, str, Any]], document: Mapping[str, Any]) -> str:
    return f"<h2>{escape(name)}</h2>" + "".join(_operation(*one, document) for one in found)


def _operation(method: str, path: str, operation: Any, document: Mapping[str, Any]) -> str:
    body = operation.get("requestBody")
    content = body["content"]["application/json"] if body else None
    parts = [
        f'<section id="{operation["operationId"]}"><h3><b class="{method}">{method.upper()}</b>'
        f"<code>{escape(path)}</code></h3><p>{_words(operation['summary'])} {_access(operation)}</p>",
        f"<pre>{escape(_curl(method, path, content))}</pre>",
    ]
    query = {
        one["name"]: {**one["schema"], "description": one["description"]}
        for one in operation.get("parameters", ())
        if one.get("in") == "query"
    }
    if query:
        parts.append("<h4>Takes behind a <code>?</code></h4>" + _fields({"properties": query}))
    if content:
        parts.append("<h4>Takes</h4>" + _fields(_resolved(content["schema"], document)))
    parts.append("<h4>Answers</h4><ul>" + "".join(_answers(operation["responses"])) + "</ul></section>")
    return "".join(parts)


def _access(operation: Any) -> str:
    if operation.get("security") == []:
        return "Needs no key."
    return _words(operation.get("description", ""))


def _curl(method: str, path: str, content: Any) -> str:
    url = f"{BASE}{re.sub(r'{.*}', 'demo/smollm2-135m', path) if '/models/' in path else path}"
    if content is None:
        return f"curl {'' if method == 'get' else f'-X {method.upper()} '}{url}"
    example = json.dumps(content["example"], indent=2, ensure_ascii=False).replace("'", "'\\''")
    return f"curl {url} -H 'Content-Type: application/json' -d '{example}'"


def _answers(responses: Mapping[str, Any]) -> Iterable[str]:
    for status, response in responses.items():
        for media_type, content in response["content"].items():
            what = " in each event" if media_type == EVENTS else ""
            yield (
                f"<li><code>{status}</code> {escape(media_type)}: {_type_of(content['schema'])}{what}</li>"
            )


def _resolved(schema: Any, document: Mapping[str, Any]) -> Any:
    return document["components"]["schemas"][schema["$ref"].removeprefix(SCHEMA)]


def _type(name: str, schema: Any) -> str:
    words = _words(schema.get("description", ""))
    return (
        f'<section class="type" id="{escape(name)}"><h3><code>{escape(_short(name))}</code></h3>'
        f"<p>{words}</p>{_fields(schema)}</section>"
    )


def _fields(schema: Any) -> str:
    required = schema.get("required", ())
    names = sorted(schema.get("properties", {}), key=lambda name: name not in required)
    rows = "".join(
        f"<tr><th><code>{escape(name)}</code>{'<em>required</em>' if name in required else ''}</th>"
        f"<td>{_type_of(field)}</td><td>{_words(field.get('description', ''))}</td></tr>"
        for name, field in ((name, schema["properties"][name]) for name in names)
    )
    return f"<table>{rows}</table>" if rows else ""


def _type_of(schema: Any) -> str:
    """A schema in words; null is not mentioned."""
    match schema:
        case {"$ref": str(ref)}:
            name = ref.removeprefix(SCHEMA)
            return f'<a href="#{escape(name)}">{escape(_short(name))}</a>'
        case {"anyOf": list(options)}:
            words = (_type_of(option) for option in options if option.get("type") != "null")
            return " or ".join(dict.fromkeys(words))
        case {"enum": list(values)}:
            return ", ".join(f"<code>{escape(str(value))}</code>" for value in values)
        case {"type": list(types)}:
            return " or ".join(f"{type_}" for type_ in types if type_ != "null")
        case {"type": "array"}:
            return f"list{_range(schema, 'Items', '')} of {_type_of(schema.get('items', {}))}"
        case {"type": "string"}:
            return f"string{_range(schema, 'Length', ' characters')}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object, each {_type_of(values)}"
        case {"type": "integer" | "number"}:
            return escape(str(schema["type"]) + _bounds(schema))
        case {"type": str(type_)}:
            return escape(type_)
    return "anything"


def _range(schema: Any, what: str, unit: str) -> str:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if high is not None:
        return f" ({low or 0} to {high:,}{unit})"
    return f" (from {low}{unit})" if low else ""


def _bounds(schema: Any) -> str:
    if schema.get("minimum") == schema.get("maximum", math.nan):
        return f" ({schema['minimum']})"
    words = [
        f"{word} {_number(schema[key])}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    return f" ({' '.join(words)})" if words else ""


def _number(value: float) -> str:
    power = abs(int(value)).bit_length()
    if power > 30:
        sign = "-" if value < 0 else ""
        exact = abs(int(value)) == 1 << power - 1
        return f"{sign}2^{power - 1 if exact else power}" + ("" if exact else " - 1")
    return f"{value:,}"


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _words(text: str) -> str:
    """Plain text, with `code` in it."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
