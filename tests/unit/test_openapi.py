"""/openapi.json: a valid document with every route, made of the types that requests are read as."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from plugins.http.field_words import WORDS
from plugins.http.metrics import Metrics
from plugins.http.openapi import document, reached
from plugins.http.reference_page import page
from plugins.http.routes import routes
from transports.settings import HttpSettings

ROUTES = routes(HttpSettings(), Metrics())
DOCUMENT: Any = msgspec.to_builtins(document(ROUTES))
WITH_BODY = [route for route in ROUTES if route.body]
# Of those that are posted to.
BODILESS = {"/v1/responses/*/cancel"}


def test_it_is_openapi() -> None:
    validator = pytest.importorskip("openapi_spec_validator", reason="needs the dev extra")

    validator.validate(DOCUMENT, cls=validator.OpenAPIV31SpecValidator)


def test_every_route_is_in_it() -> None:
    found = {
        (method.upper(), path.replace("{id}", "*"))
        for path, one in DOCUMENT["paths"].items()
        for method in one
    }

    assert {(route.method, route.path) for route in ROUTES} == found
    assert all(route.summary.endswith(".") for route in ROUTES)


def test_every_body_has_an_example_that_is_taken() -> None:
    posts = [route.path for route in ROUTES if route.method == "POST" and route.path not in BODILESS]
    assert posts == [route.path for route in WITH_BODY]
    for route in WITH_BODY:
        assert route.body
        known = set(route.body.schema.__struct_fields__)

        assert route.body.example.keys() <= known
        msgspec.convert(route.body.example, route.body.schema)


def test_every_field_of_a_body_is_explained() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    bodies = [
        one["requestBody"]
        for path in DOCUMENT["paths"].values()
        for one in path.values()
        if "requestBody" in one
    ]
    names = reached(schemas, bodies)
    silent = {
        f"{name}.{field}"
        for name in names
        for field, schema in schemas[name].get("properties", {}).items()
        if "description" not in schema
    }
    fields = {field for name in names for field in schemas[name].get("properties", {})}
    named = {word.rpartition(".")[2] for word in WORDS}

    assert set() == silent
    assert set() == named - fields


def test_the_bounds_are_those_of_the_types() -> None:
    fields = DOCUMENT["components"]["schemas"]["ChatBody"]["properties"]

    assert {"type": "number", "minimum": 0, "maximum": 2} in fields["temperature"]["anyOf"]
    assert fields["messages"]["maxItems"] == 4096


def test_what_a_url_may_say_is_in_it_and_on_the_page() -> None:
    parameters = DOCUMENT["paths"]["/v1/responses/{id}/input_items"]["get"]["parameters"]
    query = {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}

    assert {"limit", "order", "after"} == set(query)
    assert {"type": "integer", "minimum": 1, "maximum": 100, "default": 20} == query["limit"]
    assert (
        "<code>order</code>" in page(DOCUMENT).partition("/input_items</code></h3>")[2].partition("<h3>")[0]
    )


def test_the_codes_of_errors_are_in_it() -> None:
    codes = DOCUMENT["components"]["schemas"]["ErrorObject"]["properties"]["code"]["enum"]

    assert "model_not_found" in codes


def test_the_keys_and_the_streams_are_in_it() -> None:
    chat = DOCUMENT["paths"]["/v1/chat/completions"]["post"]
    health = DOCUMENT["paths"]["/health"]["get"]

    assert set(DOCUMENT["components"]["securitySchemes"]) == {"bearer", "x-api-key"}
    assert health["security"] == []
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "4XX" in chat["responses"]
