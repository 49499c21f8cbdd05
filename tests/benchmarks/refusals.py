"""Requests that the HTTP frontend refuses with each of its 4xx, as bytes on the wire.

Not among them: a body that does not come, whose 408 takes `http.body_timeout_s`, and a full queue, whose 429
bench_queue.py measures.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from support import ECHO, REAL

# Keys that the server has to know: for all models and 1,000,000 requests a minute, for one request a minute,
# for one other model, and none at all.
GOOD, SELDOM, OTHERS, UNKNOWN = "good-secret", "seldom-secret", "others-secret", "no-secret"
EYES, FAULTY = "echo/eyes", "echo/faulty"
CHAT, COMPLETIONS, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
RESPONSES, EMBEDDINGS = "/v1/responses", "/v1/embeddings"
# A picture of one pixel, cut short.
BROKEN_PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60)).decode()
TOOL = {"type": "function", "function": {"name": "f", "parameters": []}}
Fields = Mapping[str, object]


@dataclass(frozen=True)
class Refusal:
    """One way to be refused."""

    name: str
    status: int
    # The bytes of the request with this number, for a server at this address.
    request: Callable[[str, int], bytes]
    # Whether only a model's process can say no.
    by_worker: bool = False


def _sent(method: str, path: str, body: bytes = b"", key: str = GOOD, **headers: str) -> Callable[..., bytes]:
    def request(address: str, number: int) -> bytes:
        # What tells requests apart where answers are kept.
        content = body.replace(b"%NUMBER", b"%d" % number)
        lines = {"Host": address, "Authorization": f"Bearer {key}", "Connection": "close"}
        if method == "POST":
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content

    return request


def _post(path: str, fields: Fields, **more: str) -> Callable[..., bytes]:
    return _sent("POST", path, json.dumps(fields).encode(), **more)


def chat(model: str = ECHO, **fields: object) -> Fields:
    """A good chat with these further fields."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}


def _shown(model: str) -> Fields:
    picture = {"type": "image_url", "image_url": {"url": BROKEN_PNG}}
    return {"model": model, "messages": [{"role": "user", "content": [picture]}]}


def _of_the_door() -> Iterator[Refusal]:
    for field, value in {
        "n": 10**9,
        "temperature": -1,
        "max_tokens": 0,
        "top_p": "hot",
        "stop": [""],
        "logit_bias": {"-1": 1},
        "seed": 2**63,
        "messages": [],
        "tools": [TOOL],
        "tool_choice": "required",
        "response_format": {"type": "xml"},
        "guided_json": [],
        "priority": "urgent",
        "keep_alive": "soon",
    }.items():
        yield Refusal(f"a wrong {field}", 400, _post(CHAT, chat(**{field: value})))
    yield Refusal("contradicting limits", 400, _post(CHAT, chat(max_tokens=5, max_completion_tokens=6)))
    yield Refusal("a wrong header", 400, _post(CHAT, chat(), X_Priority="urgent"))
    yield Refusal("no prompt", 400, _post(COMPLETIONS, {"model": ECHO}))
    yield Refusal("33 prompts", 400, _post(COMPLETIONS, {"model": ECHO, "prompt": ["x"] * 33}))
    yield Refusal("messages without max_tokens", 400, _post(MESSAGES, chat()))
    yield Refusal("2049 inputs", 400, _post(EMBEDDINGS, {"model": ECHO, "input": ["x"] * 2049}))
    yield Refusal(
        "a response that nobody has",
        400,
        _post(RESPONSES, {"model": ECHO, "input": "hi", "previous_response_id": "resp_x"}),
    )
    good = json.dumps(chat()).encode()[:-1]
    for name, body in {
        "no body": b"",
        "cut JSON": good,
        "deep JSON": good + b', "x":' + b"[" * 100_000,
        "a flood of objects": good + b', "x": [' + b"{}," * 60_000 + b"{}]}",
        "a megabyte of numbers": good + b', "x": [1' + b",1" * 500_000 + b'], "top_p": "hot"}',
        "a key twice": good + b', "model": "n"}',
        "no UTF-8": good + b', "x": "\xff"}',
    }.items():
        yield Refusal(name, 400, _sent("POST", CHAT, body))
    yield Refusal("no HTTP", 400, lambda *_: b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    yield Refusal("two lengths", 400, _sent("POST", CHAT, b"{}", Content_length="3"))
    yield Refusal("no key", 401, _post(CHAT, chat(), key=""))
    yield Refusal("an unknown key", 401, _post(CHAT, chat(), key=UNKNOWN))
    yield Refusal("another host", 403, _post(CHAT, chat(), Host="evil.example"))
    yield Refusal("another origin", 403, _post(CHAT, chat(), Origin="http://evil.example"))
    yield Refusal("a page of another site", 403, _post(CHAT, chat(), Sec_Fetch_Site="cross-site"))
    yield Refusal("a key that may not administrate", 403, _sent("GET", "/metrics"))
    yield Refusal("an unknown route", 404, _sent("GET", "/v1/engines"))
    yield Refusal("no such model to tell of", 404, _sent("GET", "/v1/models/nobody/here"))
    yield Refusal("no such response", 404, _sent("GET", "/v1/responses/resp_x"))
    yield Refusal("a model that the key may not use", 404, _post(CHAT, chat(), key=OTHERS))
    yield Refusal("another method", 405, _sent("GET", CHAT))
    yield Refusal("a large body", 413, _sent("POST", CHAT, Content_Length=str(10**12)))
    yield Refusal("text", 415, _post(CHAT, chat(), Content_Type="text/plain"))
    yield Refusal("a compressed body", 415, _post(CHAT, chat(), Content_Encoding="gzip"))
    yield Refusal("a key's second request in a minute", 429, _post(CHAT, chat(), key=SELDOM))


def _of_others() -> Iterator[Refusal]:
    """By the kernel, which knows the models, or by a decode process."""
    unknown = chat("nobody/%NUMBER")
    yield Refusal("an unknown model", 404, _post(CHAT, unknown))
    yield Refusal("an unknown model of Anthropic's API", 404, _post(MESSAGES, {**unknown, "max_tokens": 5}))
    yield Refusal("a picture for a model of text", 400, _post(CHAT, _shown(ECHO)))
    yield Refusal("a broken picture", 400, _post(CHAT, _shown(EYES)))
    yield Refusal("a request that ended its worker", 422, _post(CHAT, fatal()))


def fatal() -> Fields:
    """A request that ends its worker, until that is known."""
    return {"model": FAULTY, "messages": [{"role": "user", "content": "CRASH"}]}


def of_the_server() -> list[Refusal]:
    """Those of which no model's process hears."""
    return [*_of_the_door(), *_of_others()]


def of_a_model(num_words: int, num_somewhat: int) -> list[Refusal]:
    """Those that need the default model.

    Args:
        num_words: More than its context has room for.
        num_somewhat: Half as many tokens as that, and some more.
    """
    schema = {"type": "object", "title": "%NUMBER", "properties": {"a": {"not": {}}}}
    patterns = {"title": "%NUMBER", "patternProperties": {f"^a{n}$": {} for n in range(2000)}}
    long = {"role": "user", "content": "word " * num_words}
    # Of two tokens each, of which one is seen without making them: all of it has to be read.
    somewhat = {"role": "user", "content": " internationalisation" * num_somewhat}
    embeddings = {"model": REAL, "input": "x"}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    by_the_worker: dict[str, tuple[str, Fields]] = {
        "tools for a model that calls none": (CHAT, chat(REAL, tools=[tool])),
        "a token beyond the vocabulary": (COMPLETIONS, {"model": REAL, "prompt": [49_999]}),
        "more tokens than there is room for": (CHAT, chat(REAL, max_tokens=10**6)),
        "a prompt too long": (CHAT, chat(REAL, messages=[long])),
        "a prompt somewhat too long": (CHAT, chat(REAL, messages=[somewhat])),
        "a keyword of a schema": (CHAT, chat(REAL, guided_json=schema)),
        "2000 patterns of a schema": (CHAT, chat(REAL, guided_json=patterns)),
        "no regular expression": (CHAT, chat(REAL, guided_regex="(%NUMBER")),
    }
    return [
        Refusal("embeddings of a model that makes none", 400, _post(EMBEDDINGS, embeddings)),
        Refusal("a picture for a model of text", 400, _post(CHAT, _shown(REAL))),
        *(Refusal(name, 400, _post(*asked), by_worker=True) for name, asked in by_the_worker.items()),
    ]


def too_complex() -> list[Refusal]:
    """Grammars that only time refuses."""
    products = [{"type": "integer", "multipleOf": p} for p in (7, 11, 13, 17, 19, 23)]
    fields: dict[str, Fields] = {
        "a schema of products": {"guided_json": {"title": "%NUMBER", "allOf": products}},
        "a repetition": {"guided_regex": "%NUMBER((a{1000}){1000}){1000}"},
    }
    return [
        Refusal(name, 400, _post(CHAT, chat(REAL, **one)), by_worker=True) for name, one in fields.items()
    ]
