"""embeddings.create and rerank of `mlxd stdio`: the bodies and answers of HTTP; the test plays the kernel."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from http_harness import MODEL, FakeClient, fail, give, say, say_nothing
from lsp_harness import FakeLink
from msgspec import Raw

from plugins.stdio.connection import Connection
from plugins.stdio.jsonrpc import Request
from plugins.stdio.kernel_link import KernelLink
from plugins.stdio.raw.personality import RawPersonality
from transports.errors import MlxdError, RemoteProtocolError, RequestError, WorkerCrashed, WorkerError
from transports.settings import HttpSettings, Settings
from transports.vectors import EmbeddingsRequest, RerankRequest

ROW = [0.5, -0.25, 1.0]


async def ask(client: FakeClient, method: str, **params: object) -> Any:
    """The result of a method, as the editor reads it."""
    # None: these methods tell nothing before their answer.
    connection, link = cast("Connection", None), cast("KernelLink", FakeLink(client))
    personality = RawPersonality(connection, link, Settings(http=HttpSettings(max_inputs=2)))
    content = json.dumps({"model": MODEL, **params}).encode()
    result = await personality.call(Request(Raw(b"1"), 1, method, Raw(content)))
    return json.loads(bytes(cast("Raw", result)))


async def test_embeddings_are_openais_list() -> None:
    client = FakeClient()
    client.script = give(ROW, ROW)

    result = await ask(
        client, "embeddings.create", input=["a", "b"], dimensions=3, truncate=True, keep_alive="5m"
    )

    _, fields = client.submitted[-1]
    assert [ROW, ROW] == [item["embedding"] for item in result["data"]]
    assert {"prompt_tokens": 5, "total_tokens": 5} == result["usage"]
    assert EmbeddingsRequest(input=("a", "b"), dimensions=3, truncate=True) == fields["body"]
    assert ("embeddings", MODEL, 300) == (fields["task"], fields["model"], fields["keep_alive_s"])


async def test_a_rerank_has_the_best_first() -> None:
    client = FakeClient()
    client.script = give([0.1], [0.9])

    result = await ask(client, "rerank", query="q", documents=["a", {"text": "b"}], return_documents=True)

    assert [(1, "b"), (0, "a")] == [(one["index"], one["document"]["text"]) for one in result["results"]]
    assert RerankRequest(query="q", documents=("a", "b")) == client.submitted[-1][1]["body"]
    assert "rerank" == client.submitted[-1][1]["task"]


@pytest.mark.parametrize(
    ("method", "params", "param"),
    [
        ("embeddings.create", {}, "input"),
        ("embeddings.create", {"input": ["a"] * 3}, "input"),
        ("embeddings.create", {"input": "a", "dimension": 3}, "dimension"),
        ("rerank", {"query": "q", "documents": ["a"] * 3}, "documents"),
        ("rerank", {"query": "q", "documents": ["a"], "topn": 1}, "topn"),
    ],
)
async def test_a_wrong_field_is_named_before_the_kernel_hears_of_it(
    method: str, params: dict[str, object], param: str
) -> None:
    client = FakeClient()

    with pytest.raises(RequestError) as caught:
        await ask(client, method, **params)

    assert param == caught.value.param
    assert not client.submitted


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (fail(WorkerCrashed("gone")), WorkerCrashed),
        (say(), RemoteProtocolError),
        (give(ROW), RemoteProtocolError),
        (say(finish="cancelled"), WorkerError),
    ],
)
async def test_an_answer_without_all_vectors_is_an_error(script: Any, error: type[MlxdError]) -> None:
    client = FakeClient()
    client.script = script

    with pytest.raises(error):
        await ask(client, "embeddings.create", input=["a", "b"])


async def test_a_cancelled_request_is_cancelled_at_the_kernel() -> None:
    client = FakeClient()
    client.script = say_nothing
    asked = asyncio.ensure_future(ask(client, "embeddings.create", input="a"))
    await client.wait_for(lambda: client.submitted)

    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked

    assert [client.submitted[0][0].id] == client.cancelled
