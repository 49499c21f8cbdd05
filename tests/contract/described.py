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
from plugins.http.openapi import EVENTS, document, reached
from plugins.http.route import JSON
from plugins.http.routes import routes
from transports.settings import HttpSettings

# Larger ones hold pictures, which take their time.
MAX_BODY_BYTES = 64 * 1024


@cache
def described() -> Any:
    """The document; in what we answer nothing may stand that it does not name."""
    whole: Any = document(routes(HttpSettings(), Metrics()))
    schemas = whole["components"]["schemas"]
    bodies = [
        one["requestBody"]
        for path in whole["paths"].values()
        for one in path.values()
        if "requestBody" in one
    ]
    taken = reached(schemas, bodies)
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
    if media_type not in (JSON, EVENTS) or len(answer) > MAX_BODY_BYTES:
        return
    schema = said["content"][media_type]["schema"]
    if media_type == JSON:
        _validate(schema, json.loads(answer))
    else:
        for line in answer.decode().split("\n"):
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                is_error = "error" in event and "type" not in event
                _validate(responses["5XX"]["content"][JSON]["schema"] if is_error else schema, event)


def json_of(body: object) -> bytes:
    """A body as it is sent."""
    return body if isinstance(body, bytes | bytearray) else json.dumps(body).encode()


def _operation(method: str, path: str) -> Any:
    for pattern, operations in described()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", ".+", pattern), path):
            return operations.get(method.lower())
    return None


@cache
def _validator(schema: str) -> Any:
    registry: Any = Registry().with_resource("urn:mlxd", DRAFT202012.create_resource(described()))
    return Draft202012Validator(json.loads(schema.replace('"#/', '"urn:mlxd#/')), registry=registry)


def _validate(schema: Any, instance: object) -> None:
    _validator(json.dumps(schema)).validate(instance)
