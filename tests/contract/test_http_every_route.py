"""What holds for every route that takes a body: bounds, strict JSON, what is passed on and logged.

Goes through the table of routes and the types of their bodies, so that a new one is covered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from http_harness import USAGE, Door, FakeClient, RawConnection, Reply, Submission, fail, give, open_door, say

from plugins.http.metrics import Metrics
from plugins.http.openapi import document
from plugins.http.route import Body
from plugins.http.routes import routes
from transports.envelope import Message
from transports.errors import ModelNotFound
from transports.frames import parcel
from transports.messages import Done, Generate
from transports.settings import HttpSettings
from transports.tokens import Tokens
from transports.vectors import EmbeddingsRequest, RerankRequest

ROUTES = routes(HttpSettings(), Metrics())
BODIES: dict[str, Body] = {route.path: route.body for route in ROUTES if route.body}
# Any: parsed JSON.
SCHEMAS: Any = document(ROUTES)["components"]
WITH_PICTURES = {
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/responses/input_tokens",
}
CANARY = "canary-of-a-prompt"
# No number in any field; those with letters are beyond JSON, the long one beyond every machine type.
NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "true", "false", '"1"', "[]", "{}")
# `translate` bounds these; their types leave it to that.
TOKEN: Any = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
BOUNDED_LATER = {"prompt.0": TOKEN, "input.0": TOKEN}
# 0 is at once and a negative one is never: every number is good.
UNBOUNDED = {"keep_alive"}


def answer(submission: Submission, body: Message) -> None:
    """Whatever is asked, once it was made ready for the wire."""
    parcel("submit", body, ids=(submission.id,), model="m", task="chat")
    match body:
        case EmbeddingsRequest() | RerankRequest():
            give([0.5], [0.25])(submission, body)
        case Generate(tell_tokens=True):
            submission.put(Tokens.of(submission.id, (5,), (b"x",)))
            submission.put(Done(id=submission.id, finish_reason="length", usage=USAGE))
        case _:
            say("hello")(submission, body)


def answering() -> FakeClient:
    client = FakeClient()
    client.script = answer
    return client


class Line:
    """One connection for many requests."""

    def __init__(self, door: Door, connection: RawConnection) -> None:
        self._door = door
        self._connection = connection

    async def post(self, path: str, body: bytes, **headers: str) -> Reply:
        self._connection.writer.write(self._door.bytes_of("POST", path, body, **headers))
        return await self._connection.reply()

    async def is_well(self, path: str) -> bool:
        """Whether the same route still answers what is right."""
        return (await self.post(path, json.dumps(BODIES[path].example).encode())).status == 200


def alternatives(schema: Any) -> Iterator[Any]:
    """The schemas of which one must fit, without references."""
    if "$ref" in schema:
        yield from alternatives(SCHEMAS["schemas"][schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from alternatives(one)
    else:
        yield schema


def all_types(schema: Any) -> set[str]:
    return {one["type"] for one in alternatives(schema) if "type" in one}


def schema_of(path: str) -> Any:
    return SCHEMAS["schemas"][BODIES[path].schema.__name__]


@dataclass(frozen=True)
class Number:
    """A field, or what stands in a list or object in it, that may be a number."""

    # Names and, of a list or of any key, the first; "max_tokens", "logit_bias.5", "prompt.0.0".
    place: str
    schema: Any
    # JSON types that may stand there as well.
    others: set[str]
    # JSON around it, with the field's name.
    before: str
    after: str

    def wrong_values(self) -> Iterator[str]:
        """JSON that is no good value."""
        kinds = {"t": "boolean", "f": "boolean", '"': "string", "[": "array", "{": "object"}
        yield from (text for text in NO_NUMBERS if kinds.get(text[0]) not in self.others)
        if self.place in UNBOUNDED:
            return
        schema = BOUNDED_LATER.get(self.place, self.schema)
        step = 0.001
        if schema["type"] == "integer":
            yield from ("1.5", str(2**64))
            step = 1
        yield json.dumps(schema["minimum"] - step if "minimum" in schema else schema["exclusiveMinimum"])
        yield json.dumps(schema["maximum"] + step)


def numbers(schema: Any, place: str, before: str, after: str) -> Iterator[Number]:
    """All in what *schema* describes."""
    for one in alternatives(schema):
        if one.get("type") in ("integer", "number"):
            yield Number(place, one, all_types(schema), before, after)
        if isinstance(one.get("items"), dict):
            yield from numbers(one["items"], f"{place}.0", f"{before}[", f"]{after}")
        if isinstance(one.get("additionalProperties"), dict):
            yield from numbers(one["additionalProperties"], f"{place}.5", f'{before}{{"5": ', f"}}{after}")
        fields = one.get("properties", {})
        for name, field in fields.items():
            needed = {key: fields[key].get("enum", [""])[0] for key in one.get("required", ()) if key != name}
            around = "".join(f'"{key}": {json.dumps(word)}, ' for key, word in needed.items())
            yield from numbers(field, f"{place}.{name}", f'{before}{{{around}"{name}": ', f"}}{after}")


def numbers_of(path: str) -> list[Number]:
    """All that a body may hold; turns and tools hold none."""
    return [
        number
        for name, field in schema_of(path)["properties"].items()
        if name not in ("messages", "system", "tools")
        for number in numbers(field, name, f'"{name}": ', "")
    ]


def test_the_numbers_of_all_bodies_are_gone_through() -> None:
    found = {f"{path} {number.place}" for path in BODIES for number in numbers_of(path)}

    assert {
        "/v1/chat/completions chat_template_kwargs.thinking_budget",
        "/v1/completions logit_bias.5",
        "/v1/completions prompt.0.0",
        "/v1/messages thinking.budget_tokens",
        "/v1/responses max_output_tokens",
        "/v1/embeddings dimensions",
        "/v1/rerank top_n",
        "/detokenize tokens.0",
    } <= found
    assert len(found) > 70


@pytest.mark.parametrize("path", BODIES)
async def test_no_number_is_beyond_its_bounds(path: str) -> None:
    """vLLM CVE-2026-34756, PYSEC-2026-4350, llama.cpp CVE-2026-21869: one number, and the engine is gone."""
    taken = []
    async with open_door(answering()) as door:
        line = Line(door, await door.raw(b""))
        for number in numbers_of(path):
            field = number.place.partition(".")[0]
            rest = {name: value for name, value in BODIES[path].example.items() if name != field}
            for value in number.wrong_values():
                member = f"{number.before}{value}{number.after}"
                reply = await line.post(path, f"{json.dumps(rest)[:-1]}, {member}}}".encode())
                if reply.status != 400:
                    taken.append((member[:100], reply.status))
        assert await line.is_well(path)

    assert taken == []
    assert len(door.client.submitted) == 1


def spoiled(good: bytes) -> Mapping[str, bytes]:
    """The members of an object, made JSON that nobody should take; what is good is whole."""
    return {
        "nothing": b"",
        "cut": good,
        "more": good + b"} x",
        "a list": b"[" + good + b"}]",
        "null": b"null",
        "a key twice": good + b', "model": "n"}',
        "a key twice, escaped": good + b', "mod\\u0065l": "n"}',
        "a key twice inside": good + b', "metadata": {"a": "1", "a": "2"}}',
        "deep": good + b', "metadata":' + b"[" * 70 + b"]" * 70 + b"}",
        "deep without end": good + b', "x":' + b"[" * 100_000,
        "a flood": good + b', "x": [' + b"{}," * 60_000 + b"{}]}",
        "NaN in what is unknown": good + b', "x": NaN}',
        "half a surrogate pair": good + b', "x": "\\ud800"}',
        "half a surrogate pair as a name": good + b', "\\udc00": 1}',
        "not UTF-8": good + b', "x": "\xff"}',
        "a byte order mark": b"\xef\xbb\xbf" + good + b"}",
        "UTF-16": (good + b"}").decode().encode("utf-16"),
        "a control character": good + b', "x": "a\nb"}',
    }


@pytest.mark.parametrize("path", BODIES)
async def test_json_that_two_could_read_differently_or_that_costs_much_is_refused(path: str) -> None:
    taken = []
    async with open_door(answering()) as door:
        line = Line(door, await door.raw(b""))
        for name, body in spoiled(json.dumps(BODIES[path].example)[:-1].encode()).items():
            reply = await line.post(path, body)
            if reply.status != 400:
                taken.append((name, reply.status, reply.body[:100]))
        assert await line.is_well(path)

    assert taken == []
    assert len(door.client.submitted) == 1


@pytest.mark.parametrize("path", BODIES)
async def test_only_plain_json_is_read(path: str) -> None:
    """A page may send text and forms without asking first; a compressed body may hold gigabytes."""
    good = json.dumps(BODIES[path].example).encode()
    headers = ({"Content_Type": "text/plain"}, {"Content_Type": "application/x-www-form-urlencoded"})
    packed = ({"Content_Encoding": "gzip"}, {"Content_Encoding": "br"})
    async with open_door(answering()) as door:
        for wrong in (*headers, *packed):
            assert (await door.post(path, good, **wrong)).status == 415

    assert door.client.submitted == []


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_is_large_only_where_pictures_may_be_in_it(path: str) -> None:
    example = json.dumps(BODIES[path].example).encode()
    async with open_door(answering(), max_body_bytes=1000, max_text_body_bytes=500) as door:
        small, large, larger = [await door.post(path, example.ljust(size)) for size in (500, 501, 1001)]

    assert (small.status, larger.status) == (200, 413)
    assert large.status == (200 if path in WITH_PICTURES else 413)
    if large.status == 413:
        assert b"max_text_body_bytes" in large.body


async def test_a_small_limit_of_all_bodies_is_that_of_texts_too() -> None:
    async with open_door(answering(), max_body_bytes=100) as door:
        reply = await door.post("/detokenize", json.dumps(BODIES["/detokenize"].example).encode().ljust(101))

    assert reply.status == 413
    assert "(max_body_bytes of" in reply.error["message"]


@pytest.mark.parametrize("path", BODIES)
async def test_what_is_unknown_reaches_no_worker(path: str) -> None:
    """vLLM CVE-2025-62426, CVE-2025-62164: templates, tensors and paths that a request named."""
    unknown = dict.fromkeys(
        ("prompt_embeds", "chat_template", "extra_body", "lora_path", "__class__"), CANARY
    )
    body = {**BODIES[path].example, **unknown}
    if "messages" in body:
        body["messages"] = [{"role": "user", "content": "hi", **unknown}]
    async with open_door(answering()) as door:
        reply = await door.post(path, body)

    ((_, submitted),) = door.client.submitted
    assert reply.status == 200
    assert CANARY not in repr(submitted)
    within = [f"messages[0].{name}" for name in unknown] if "messages" in body else []
    assert {*unknown, *within} <= {*reply.headers["x-mlxd-ignored"].split(", ")}


@pytest.mark.parametrize("path", BODIES)
async def test_a_model_is_a_name_and_nothing_else(path: str) -> None:
    """Ollama CVE-2024-37032, LM Studio CVE-2026-119979: the kernel looks it up, as it was sent."""
    names = (
        "../../etc/passwd",
        "/etc",
        "C:\\x\\..",
        "http://evil.example/x",
        "a\0b",
        "demo/echo/",
        "x" * 256,
    )
    client = FakeClient()
    client.script = fail(ModelNotFound("not here", param="model"))
    async with open_door(client) as door:
        line = Line(door, await door.raw(b""))
        replies = [
            await line.post(path, json.dumps({**BODIES[path].example, "model": name}).encode())
            for name in (*names, "x" * 257, "x" * 10_000, "")
        ]

    assert [reply.status for reply in replies] == [404] * len(names) + [400] * 3
    assert tuple(submitted["model"] for _, submitted in client.submitted) == names


@pytest.mark.parametrize("path", BODIES)
async def test_no_prompt_is_in_a_log(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor what is wrong with one."""
    said = json.dumps(BODIES[path].example).replace("What is", CANARY).replace("A ", CANARY).encode()
    said = said.replace(b"Once", CANARY.encode()).replace(b"Hello", CANARY.encode())
    canary = CANARY.encode()
    # That route is told of tokens alone.
    assert canary in said or path == "/detokenize"
    async with open_door(answering()) as door:
        line = Line(door, await door.raw(b""))
        statuses = [
            (await line.post(path, body)).status
            for body in (
                said,
                said[:-1] + b', "user": "%b", "metadata": {"a": "%b"}}' % (canary, canary),
                said[:-1] + b', "%b": 1, "stream": "%b"}' % (canary, canary),
                said[:-1],
                said[:-1] + b', "%b": 1, "%b": 2}' % (canary, canary),
            )
        ]
        door.client.script = fail(ModelNotFound(CANARY))
        statuses.append((await line.post(path, said)).status)
        await door.post(f"{path}/{CANARY}?{CANARY}", said, User_Agent=CANARY, X_Request_Id=CANARY)
    output = capsys.readouterr().out

    assert statuses[0] == 200
    assert statuses[-3:] == [400, 400, 404]
    assert output.count("request_ended") == 7
    assert CANARY not in output


async def test_a_page_of_another_site_gets_nothing_from_any_route() -> None:
    """Nor may it read that it got nothing."""
    asked = [(route.method, route.path.replace("*", "demo/echo")) for route in ROUTES]
    async with open_door(answering()) as door:
        for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            replies = [await door.request(method, path, **headers) for method, path in asked]
            assert {reply.status for reply in replies} == {403}
            assert not [name for reply in replies for name in reply.headers if "access-control" in name]

    assert door.client.submitted == []
