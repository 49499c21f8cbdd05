"""/v1/embeddings and /v1/rerank: what is taken, what is refused, and the shapes of the answers."""

from __future__ import annotations

import base64
import struct

import pytest
from http_harness import MODEL, fail, give, open_door, say, say_nothing

from transports.errors import ContextLengthExceeded, TaskNotSupported, WorkerCrashed
from transports.vectors import EmbeddingsRequest, RerankRequest

VECTOR = [0.5, -0.25, 1.0]


async def test_floats_are_openais_answer():
    async with open_door() as door:
        door.client.script = give(VECTOR, [0.0, 0.0, 1.0])
        reply = await door.post("/v1/embeddings", {"model": MODEL, "input": ["one", "two"]})

    assert 200 == reply.status
    assert {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": VECTOR},
            {"object": "embedding", "index": 1, "embedding": [0.0, 0.0, 1.0]},
        ],
        "model": MODEL,
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    } == reply.json


async def test_base64_is_the_floats_as_they_came():
    async with open_door() as door:
        door.client.script = give(VECTOR)
        body = {"model": MODEL, "input": "one", "encoding_format": "base64"}
        reply = await door.post("/v1/embeddings", body)

    (item,) = reply.json["data"]
    assert VECTOR == list(struct.unpack("<3f", base64.b64decode(item["embedding"])))


async def test_thousands_of_vectors_are_written_in_order():
    rows = [[float(number), 0.0] for number in range(2048)]
    async with open_door() as door:
        door.client.script = give(*rows)
        reply = await door.post("/v1/embeddings", {"model": MODEL, "input": ["x"] * 2048})

    assert rows == [item["embedding"] for item in reply.json["data"]]
    assert list(range(2048)) == [item["index"] for item in reply.json["data"]]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("one", ("one",)),
        (["one", "two"], ("one", "two")),
        ([1, 2, 3], ((1, 2, 3),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
async def test_each_form_of_input_is_taken(given, taken):
    async with open_door() as door:
        door.client.script = give(*[VECTOR] * len(taken))
        reply = await door.post("/v1/embeddings", {"model": MODEL, "input": given})
        body = door.client.body

    assert 200 == reply.status
    assert EmbeddingsRequest(input=taken) == body
    assert "embeddings" == door.client.submitted[-1][1]["task"]


async def test_the_models_options_of_a_request_reach_the_worker():
    async with open_door() as door:
        door.client.script = give(VECTOR)
        body = {
            "model": MODEL,
            "input": "one",
            "dimensions": 3,
            "truncate": True,
            "keep_alive": "5m",
            "user": "ann",
            "priority": "low",
        }
        await door.post("/v1/embeddings", body)
        _, fields = door.client.submitted[-1]

    assert EmbeddingsRequest(input=("one",), dimensions=3, truncate=True) == fields["body"]
    assert (300, -1) == (fields["keep_alive_s"], fields["priority"])
    assert "user-" in fields["client"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 1]}, "input"),
        ({"input": ["a", [1]]}, "input"),
        ({"input": [1, "a"]}, "input[1]"),
        ({"input": [1, -1]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "truncate": "yes"}, "truncate"),
        ({"input": "a", "keep_alive": "soon"}, "keep_alive"),
        ({"input": "a", "user": 5}, "user"),
        ({"input": "a", "priority": "urgent"}, "priority"),
    ],
)
async def test_a_wrong_field_of_embeddings_is_named(fields, param):
    async with open_door() as door:
        reply = await door.post("/v1/embeddings", {"model": MODEL, **fields})

    assert (400, param) == (reply.status, reply.error["param"])
    assert not door.client.submitted


async def test_a_wrong_input_is_not_quoted():
    """It is nobody's business, not even in an error that may be logged."""
    async with open_door() as door:
        reply = await door.post("/v1/embeddings", {"model": MODEL, "input": [[1, "secret"]]})

    assert 400 == reply.status
    assert "secret" not in reply.error["message"]


async def test_the_number_of_inputs_is_a_setting():
    async with open_door(max_inputs=2) as door:
        reply = await door.post("/v1/embeddings", {"model": MODEL, "input": ["a", "b", "c"]})

    assert "input: expected at most 2 (http.max_inputs), got 3" == reply.error["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ContextLengthExceeded("input[1]: expected at most 8 tokens, got 9", param="input[1]"), 400),
        (TaskNotSupported("model: it chats", param="model"), 400),
        (WorkerCrashed("gone"), 502),
    ],
)
async def test_a_failed_embedding_is_openais_error(error, status):
    async with open_door() as door:
        door.client.script = fail(error)
        reply = await door.post("/v1/embeddings", {"model": MODEL, "input": "a"})

    assert (status, error.code, error.param) == (reply.status, reply.error["code"], reply.error["param"])


async def test_an_answer_without_vectors_is_the_workers_fault():
    async with open_door() as door:
        door.client.script = say()
        reply = await door.post("/v1/embeddings", {"model": MODEL, "input": "a"})

    assert (502, "remote_protocol_error") == (reply.status, reply.error["code"])


async def test_too_few_vectors_are_the_workers_fault():
    async with open_door() as door:
        door.client.script = give(VECTOR)
        reply = await door.post("/v1/embeddings", {"model": MODEL, "input": ["a", "b"]})

    assert 502 == reply.status


async def test_a_client_that_leaves_cancels_its_embedding():
    async with open_door() as door:
        door.client.script = say_nothing
        raw = await door.raw(door.bytes_of("POST", "/v1/embeddings", {"model": MODEL, "input": "a"}))
        await door.client.wait_for(lambda: door.client.submitted)
        raw.close()

        await door.client.wait_for(lambda: door.client.cancelled)

    assert ["request-0"] == door.client.cancelled


async def test_rerank_puts_the_best_first():
    async with open_door() as door:
        door.client.script = give([0.25], [1.0], [0.25])
        body = {"model": MODEL, "query": "q", "documents": ["a", {"text": "b"}, "c"]}
        reply = await door.post("/v1/rerank", body)

    answer = reply.json
    assert answer.pop("id").startswith("rerank-")
    assert {
        "object": "list",
        "model": MODEL,
        "results": [
            {"index": 1, "relevance_score": 1.0},
            {"index": 0, "relevance_score": 0.25},
            {"index": 2, "relevance_score": 0.25},
        ],
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    } == answer
    assert RerankRequest(query="q", documents=("a", "b", "c")) == door.client.body


async def test_rerank_gives_as_many_as_asked_with_their_texts():
    async with open_door() as door:
        door.client.script = give([0.25], [1.0])
        body = {"model": MODEL, "query": "q", "documents": ["a", "b"], "top_n": 1, "return_documents": True}
        reply = await door.post("/v1/rerank", body)

    assert [{"index": 1, "relevance_score": 1.0, "document": {"text": "b"}}] == reply.json["results"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "", "documents": ["a"]}, "query"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": []}, "documents"),
        ({"query": "q", "documents": [1]}, "documents[0]"),
        ({"query": "q", "documents": ["x"] * 2049}, "documents"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
    ],
)
async def test_a_wrong_field_of_rerank_is_named(fields, param):
    async with open_door() as door:
        reply = await door.post("/v1/rerank", {"model": MODEL, **fields})

    assert (400, param) == (reply.status, reply.error["param"])
