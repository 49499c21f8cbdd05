"""Compares what goes over the wire with what /openapi.json says of it."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from plugins.http.metrics import Metrics
from plugins.http.openapi import EVENTS, document
from plugins.http.route import JSON
from plugins.http.routes import routes
from transports.settings import HttpSettings

# Larger ones hold pictures, which take their time.
MAX_BODY_BYTES = 64 * 1024


@cache
def described() -> Any:
    """The document; in what we answer nothing may stand that it does not name."""
    whole: Any = document(routes(HttpSettings(), Metrics()))
    taken = {ref for path in whole["paths"].values() for one in path.values() for ref in _refs_of_body(one)}
    schemas = whole["components"]["schemas"]
    _reach(schemas, taken)
    for name, schema in schemas.items():
        if name not in taken and "properties" in schema:
            schema["additionalProperties"] = False
    return whole


def check(method: str, path: str, body: object, status: int, media_type: str, answer: bytes) -> None:
    """Fail where a request that was answered, or its answer, is not as described."""
    operation = _operation("GET" if method == "HEAD" else method, path.partition("?")[0])
    if operation is None or method == "HEAD":
        return
    if status == 200 and "requestBody" in operation and len(json_of(body)) < MAX_BODY_BYTES:
        _validate(operation["requestBody"]["content"][JSON]["schema"], json.loads(json_of(body)))
    responses = operation["responses"]
    said = responses.get(str(status)) or responses[f"{status // 100}XX"]
    schema = said["content"][media_type]["schema"]
    if len(answer) > MAX_BODY_BYTES:
        return
    if media_type == JSON:
        _validate(schema, json.loads(answer))
    elif media_type == EVENTS:
        for line in answer.decode().split("\n"):
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                _validate(responses["5XX"]["content"][JSON]["schema"] if "error" in event else schema, event)


def json_of(body: object) -> bytes:
    """A body as it is sent."""
    return body if isinstance(body, bytes | bytearray) else json.dumps(body).encode()


def _operation(method: str, path: str) -> Any:
    for pattern, operations in described()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", ".+", pattern), path):
            return operations.get(method.lower())
    return None


@cache
def _validator(ref: str) -> Any:
    registry: Any = Registry().with_resource("urn:mlxd", DRAFT202012.create_resource(described()))
    return Draft202012Validator({"$ref": f"urn:mlxd{ref}"}, registry=registry)


def _validate(schema: Any, instance: object) -> None:
    if "$ref" in schema:
        _validator(schema["$ref"]).validate(instance)


def _refs_of_body(operation: Any) -> list[str]:
    if "requestBody" not in operation:
        return []
    return [operation["requestBody"]["content"][JSON]["schema"]["$ref"].rpartition("/")[2]]


def _reach(schemas: Any, names: set[str]) -> None:
    """Add the names of all that these refer to."""
    waiting = list(names)
    while waiting:
        text = json.dumps(schemas[waiting.pop()])
        for part in text.split('"$ref": "#/components/schemas/')[1:]:
            name = part.partition('"')[0]
            if name not in names:
                names.add(name)
                waiting.append(name)
