"""The document of /openapi.json, made of the table of routes and the types that bodies are read as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import TypeAlias, get_args

import msgspec

from plugins.http.field_words import WORDS
from plugins.http.route import JSON, Answer, Group, Route
from transports.version import VERSION

OPENAPI = "3.1.0"
EVENTS = "text/event-stream"
SCHEMA = "#/components/schemas/"

ABOUT = (
    "mlxd serves language and vision models. API keys go into `Authorization: Bearer KEY` or "
    "`x-api-key: KEY`; as long as none was made, and mlxd listens on this machine only, any or none will do. "
    "A field that is `null` counts as left out."
)
HEADERS = {
    "X-Request-Id": "The answer's id, which is in the log too.",
    "X-Mlxd-Ignored": "Names of the request's fields that had no effect.",
}
# Of every request that goes to a model; `plugins.http.request_headers` reads them.
PARAMETERS: dict[str, dict[str, object]] = {
    "X-Priority": {
        "in": "header",
        "name": "X-Priority",
        "description": "Whose turn it is when requests wait; never higher than the key's.",
        "schema": {"enum": ["high", "normal", "low"], "default": "normal"},
    },
    "X-Queue-Timeout": {
        "in": "header",
        "name": "X-Queue-Timeout",
        "description": "Seconds that the request may wait before it runs, loading included.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 86400},
    },
}
SECURITY_SCHEMES: dict[str, dict[str, object]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `mlxd keys new`."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
}
# Also none, as for mlxd on this machine alone.
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"x-api-key": []}, {}]

Schema: TypeAlias = dict[str, object]


def document(routes: Sequence[Route]) -> dict[str, object]:
    """The whole of it, as JSON has it."""
    types = tuple(dict.fromkeys(type_ for route in routes for type_ in _types(route)))
    schemas, components = msgspec.json.schema_components(types, ref_template=SCHEMA + "{name}")
    schema_of = dict(zip(types, schemas, strict=True))
    for name in reached(components, [schema_of[route.body.schema] for route in routes if route.body]):
        _explain(name, components[name])
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": OPENAPI,
        "info": {"title": "mlxd", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in get_args(Group)],
        "security": SECURITY,
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": SECURITY_SCHEMES,
            "parameters": PARAMETERS,
            "headers": {
                name: {"description": words, "schema": {"type": "string"}} for name, words in HEADERS.items()
            },
        },
    }


def reached(components: Mapping[str, object], schemas: Iterable[object]) -> list[str]:
    """The names of all components that these schemas refer to, at once or through others."""
    found: dict[str, None] = {}
    waiting = [*schemas]
    while waiting:
        match waiting.pop():
            case {"$ref": str(ref)} if ref.startswith(SCHEMA):
                name = ref.removeprefix(SCHEMA)
                if name not in found:
                    found[name] = None
                    waiting.append(components[name])
            case dict() as schema:
                waiting += schema.values()
            case list() as schemas_:
                waiting += schemas_
    return list(found)


def _explain(type_name: str, schema: Schema) -> None:
    """Say of each field of a body what it is for."""
    match schema:
        case {"properties": dict(fields)}:
            for name, field in fields.items():
                if words := WORDS.get(f"{type_name}.{name}") or WORDS.get(name):
                    field.setdefault("description", words)


def _types(route: Route) -> Iterable[type | UnionType]:
    if route.body:
        yield route.body.schema
    answer = route.answer
    yield from (answer.schema, *answer.other.values(), answer.error)
    if answer.event:
        yield answer.event


def _path(route: Route) -> str:
    return route.path.replace("*", f"{{{route.rest}}}")


def _operation(route: Route, schema_of: Mapping[type | UnionType, Schema]) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{_path(route)}").strip("_"),
        "tags": [route.group],
        "summary": route.summary,
        "responses": _responses(route.answer, schema_of),
    }
    parameters: list[dict[str, object]] = []
    if "*" in route.path:
        parameters.append(
            {"in": "path", "name": route.rest, "required": True, "schema": {"type": "string", "minLength": 1}}
        )
    for name, schema in route.query.items():
        told = {key: value for key, value in schema.items() if key != "description"}
        parameters.append({"in": "query", "name": name, "description": schema["description"], "schema": told})
    if route.body:
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in PARAMETERS]
        content = {"schema": schema_of[route.body.schema], "example": route.body.example}
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    if parameters:
        operation["parameters"] = parameters
    if route.access == "open":
        operation["security"] = []
    if route.access == "admin":
        operation["description"] = "Where keys are needed, for those of `mlxd keys new --admin`."
    return operation


def _responses(answer: Answer, schema_of: Mapping[type | UnionType, Schema]) -> dict[str, object]:
    good: dict[str, object] = {answer.media_type: {"schema": schema_of[answer.schema]}}
    words = "The answer."
    if answer.event:
        good[EVENTS] = {"schema": schema_of[answer.event]}
        words = "The answer; with `stream` as server-sent events, of which each holds one of these objects."
    failed = {"content": {JSON: {"schema": schema_of[answer.error]}}}
    return {
        "200": {
            "description": words,
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS},
            "content": good,
        },
        **{
            str(status): {"description": "Not so.", "content": {JSON: {"schema": schema_of[type_]}}}
            for status, type_ in answer.other.items()
        },
        "4XX": {"description": "Something is wrong with the request.", **failed},
        "5XX": {"description": "Something went wrong here, or later will do.", **failed},
    }
