"""LangChain's own tests of chat models, against a running mlxd; run by its environment, not by ours.

Where meaning does not matter a real model answers; where it does, as for tools, an echo model says what
`LANGCHAIN_SCRIPT` has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

URL = os.environ["MLXD_URL"]


@pytest.fixture(autouse=True)
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The suite's pictures and documents come from the web; here from files."""

    def get(url: str, **_: object) -> SimpleNamespace:
        variable = "MLXD_DOCUMENT" if url.endswith(".pdf") else "MLXD_PICTURE"
        return SimpleNamespace(content=Path(os.environ[variable]).read_bytes())

    monkeypatch.setattr(httpx, "get", get)
    yield


class MlxdTests(ChatModelIntegrationTests):
    """What holds for all models. Not collected: its name does not begin with Test."""

    name: str
    fields: dict[str, Any]

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "base_url": f"{URL}/v1",
            "api_key": "none",
            "model": self.name,
            "max_retries": 0,
            # Off by default where there is a base_url.
            "stream_usage": True,
            **self.fields,
        }

    @property
    def model_override_value(self) -> str:
        return "echo/plain"

    def ask(self, question: str, *, stream: bool = False) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params)
        if not stream:
            return model.invoke(question)
        first, *rest = model.stream(question)
        return sum(rest, first)


class TestScripted(MlxdTests):
    """All but what needs the web (pictures by URL, recordings) or what no model here does (sound)."""

    name = "scripted/client"
    fields: dict[str, Any] = {}  # noqa: RUF012

    supports_json_mode = True
    supports_image_inputs = True
    supports_pdf_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    supported_usage_metadata_details = {  # noqa: RUF012
        "invoke": ["reasoning_output"],
        "stream": ["reasoning_output"],
    }

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self.ask("Think.", stream=stream)

    @property
    def structured_output_kwargs(self) -> dict[str, str]:
        """As the arguments of a call; by a schema it is the default model's."""
        return {"method": "function_calling"}


class TestDefaultModel(MlxdTests):
    """A text model whose template shows no tools; it is held to schemas, and read from its cache."""

    name = "demo/smollm2-135m"
    fields: dict[str, Any] = {"max_tokens": 120, "frequency_penalty": 1}  # noqa: RUF012

    has_tool_calling = False
    has_structured_output = True
    supported_usage_metadata_details = {  # noqa: RUF012
        "invoke": ["cache_read_input"],
        "stream": ["cache_read_input"],
    }

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        self.ask("What is the capital of France?")
        answer = self.ask("What is the capital of France?", stream=stream)
        assert answer.usage_metadata["input_token_details"]["cache_read"] > 0
        return answer

    @pytest.mark.xfail(
        strict=True, reason="LangChain calls a tool for such classes, and this model calls none"
    )
    def test_structured_output_pydantic_2_v1(self, model: BaseChatModel) -> None:
        super().test_structured_output_pydantic_2_v1(model)


class TestVisionModel(MlxdTests):
    """A model that looks at pictures."""

    name = "demo/tiny-vl"
    fields: dict[str, Any] = {"max_tokens": 20}  # noqa: RUF012

    has_tool_calling = False
    has_structured_output = False
    supports_image_inputs = True
    supports_pdf_inputs = True
