"""Answers that keep to random JSON Schemas, regular expressions and Lark grammars, of text and vision models.

Sixteen at a time, every fourth of them a plain one, half of them streamed. Each that ends by itself is
checked as a client would; one that uses up its tokens shows nothing.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp
import jsonschema
from support import REAL, ROOT, Figure, real_home, running_kernel

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "models")]

import json_schemas  # noqa: E402
import pictures  # noqa: E402

VISION = "demo/tiny-vl"
NUM_AT_ONCE = 16
MAX_TOKENS = 500
# The kind of what keeps to nothing.
PLAIN = "plain answer"
EXPRESSIONS = (
    *(
        r"\d{3}-\d{2}",
        r"[a-f]{5,9}",
        r"(north|south)\.(east|west)",
        r"[äöü]{3}",
        r"(0|[1-9]\d{0,4})(,\d{3}){0,2}",
    ),
    *(r"[A-Z][a-z]{2,8}( [A-Z][a-z]{2,8}){1,3}", r'"([^"\\\n]|\\["n]){0,20}"', r"#[0-9a-f]{6}", r"日本語?"),
)


def _is_nested(text: str) -> bool:
    depth = text.count("(")
    inner = text[depth : len(text) - depth]
    is_inner = re.fullmatch(r"\[[a-z]\]" + (r"|[0-9]" if depth else ""), inner) is not None
    return is_inner and text == "(" * depth + inner + ")" * depth


# A Lark grammar, and whether a text is one of it.
GRAMMARS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ('start: "(" (start | /[0-9]/) ")" | "[" /[a-z]/ "]"', _is_nested),
    (
        'start: row ("\\n" row){1,3}\nrow: NAME ": " /[0-9]{1,3}/ "%"\nNAME: /[a-z]{3,8}/',
        lambda text: bool(re.fullmatch(r"[a-z]{3,8}: \d{1,3}%(\n[a-z]{3,8}: \d{1,3}%){1,3}", text)),
    ),
    ('start: "yes" | "no" | "perhaps"', lambda text: text in ("yes", "no", "perhaps")),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A request and what its answer has to be."""

    kind: str
    # Of the request.
    fields: Mapping[str, object]
    is_kept: Callable[[str], bool]


@dataclass(slots=True)
class Tally:
    """What came of the cases of a kind."""

    asked: int = 0
    whole: int = 0
    broken: list[str] = field(default_factory=list)


async def measure(num_schemas: int, *models: str) -> list[Figure]:
    """So many random schemas for each of *models*, and a fifth as many expressions and grammars each."""
    return [figure for model in models or (REAL, VISION) for figure in await _measure(model, num_schemas)]


async def _measure(model: str, num_schemas: int) -> list[Figure]:
    tallies: dict[str, Tally] = {}
    places = asyncio.Semaphore(NUM_AT_ONCE)
    async with (
        running_kernel(real_home(), http=True, model=model) as (_, client, url),
        aiohttp.ClientSession() as session,
    ):
        device = next(one.device for one in (await client.status()).workers if one.model == model)
        began_s = time.monotonic()

        async def one(seed: int, case: Case) -> None:
            async with places:
                tally = tallies.setdefault(case.kind, Tally())
                tally.asked += 1
                try:
                    text, reason = await _ask(session, url, model, seed, case.fields)
                    tally.whole += reason == "stop"
                    if reason == "stop" and not case.is_kept(text):
                        tally.broken.append(f"{case.fields}: {text}")
                except ValueError as e:
                    tally.broken.append(f"{case.fields}: {e}")

        await asyncio.gather(*[one(seed, case) for seed, case in enumerate(_cases(num_schemas))])
        took_s = time.monotonic() - began_s
    return [
        Figure(
            f"{model} on {device}: {'failed' if kind == PLAIN else 'broken'} {kind}s, of {tally.asked}",
            len(tally.broken),
            "",
            ("<=", 0),
            f"{tally.whole} whole; {took_s:.0f} s for all kinds"
            + "".join(f"; {one}" for one in tally.broken[:3]),
        )
        for kind, tally in sorted(tallies.items())
    ]


def _cases(num_schemas: int) -> list[Case]:
    """In random order, every fourth a plain one."""
    kept = [
        Case("JSON Schema", _constrained(json=schema), lambda text, schema=schema: _is_valid(text, schema))
        for schema in map(json_schemas.random_schema, range(num_schemas))
    ]
    for at in range(-(-num_schemas // 5)):
        one = EXPRESSIONS[at % len(EXPRESSIONS)]
        text, is_kept = GRAMMARS[at % len(GRAMMARS)]
        matches = re.compile(one, re.ASCII).fullmatch
        kept.append(
            Case("regular expression", _constrained(regex=one), lambda text, of=matches: bool(of(text)))
        )
        kept.append(Case("Lark grammar", _constrained(grammar=text), is_kept))
    Random(1).shuffle(kept)
    plain = Case(PLAIN, {"max_tokens": 60}, lambda text: True)
    return [case for at, one in enumerate(kept) for case in ((one, plain) if at % 3 == 0 else (one,))]


def _constrained(**one: object) -> dict[str, object]:
    return {"structured_outputs": one, "max_tokens": MAX_TOKENS}


def _is_valid(text: str, schema: json_schemas.Schema) -> bool:
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.validate(value, schema, jsonschema.Draft202012Validator, format_checker=checker)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


async def _ask(
    session: aiohttp.ClientSession, url: str, model: str, seed: int, fields: Mapping[str, object]
) -> tuple[str, str]:
    """The answer's text, and why it ended.

    Raises:
        ValueError: There is none.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": _content(model)}],
        "temperature": 1,
        "seed": seed,
        "stream": seed % 2 == 0,
        **fields,
    }
    text, reason = "", ""
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        if response.status != 200:
            raise ValueError(await response.text())
        if not body["stream"]:
            (choice,) = (await response.json())["choices"]
            return choice["message"]["content"] or "", choice["finish_reason"]
        async for line in response.content:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if "error" in event:
                    raise ValueError(event["error"])
                for choice in event["choices"]:
                    text += choice["delta"].get("content") or ""
                    reason = choice["finish_reason"] or reason
    return text, reason


def _content(model: str) -> str | list[dict[str, Any]]:
    if model != VISION:
        return "Invent an example of what somebody may want to store about a person, a place or a thing."
    file = io.BytesIO()
    pictures.shapes(("red", "circle")).save(file, "PNG")
    data_url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return [
        {"type": "image_url", "image_url": {"url": data_url}},
        {"type": "text", "text": "What color is the shape?"},
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200, *sys.argv[2:])):
        print(figure)
