"""docs/api.md names everything that the HTTP frontend takes and says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from plugins.anthropic import requests as anthropic
from plugins.http.metrics import Metrics
from plugins.http.routes import routes
from plugins.openai.requests import WITHOUT_EFFECT, ChatBody, CompletionBody
from plugins.openai.vector_requests import EmbeddingsBody, RerankBody
from plugins.responses import requests as responses
from plugins.responses.events import ResponseEvent
from plugins.responses.requests import ReasoningConfig, ResponseBody, TextConfig
from transports.errors import BY_CODE, ConfigError, PluginError
from transports.settings import HttpSettings

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
CODE = set(re.findall(r"`([^`\n]+)`", TEXT))


def test_every_route_is_documented() -> None:
    documented = {(method, path.replace("{id}", "*")) for method, path in re.findall(r"`(\w+) (/\S+)`", TEXT)}

    assert documented == {(route.method, route.path) for route in routes(HttpSettings(), Metrics())}


def test_every_field_is_documented() -> None:
    bodies = (ChatBody, CompletionBody, EmbeddingsBody, RerankBody, anthropic.MessagesBody)
    fields = {field for body in bodies for field in body.__struct_fields__} - {"stream_options"}

    assert fields <= CODE
    assert CODE >= WITHOUT_EFFECT | anthropic.WITHOUT_EFFECT
    assert "stream_options.include_usage" in CODE


def test_every_error_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", TEXT, re.MULTILINE)
    documented = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    # Those two end a process before it answers anything.
    raised = {c for c in BY_CODE.values() if c not in (ConfigError, PluginError)}

    assert documented == {(error.http_status, error.code) for error in raised}


def test_every_field_item_and_event_of_responses_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "responses.md").read_text()
    code = set(re.findall(r"`([^`\n]+)`", text))
    fields = {*ResponseBody.__struct_fields__, *TextConfig.__struct_fields__} - {"reasoning"}

    assert fields <= code
    assert {f"reasoning.{name}" for name in ReasoningConfig.__struct_fields__} <= code
    assert code >= responses.WITHOUT_EFFECT
    assert {str(event.__struct_config__.tag) for event in get_args(ResponseEvent)} <= code
