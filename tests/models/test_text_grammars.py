"""Answers that keep to a grammar, in batches with others, on a model that babbles."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import jsonschema
import pytest
from engine_host import Job, Report, Run, say
from json_schemas import random_schema
from tiny_llama import TOKEN_BYTES, write_tiny_llama

from transports.messages import ChatRequest, CompletionRequest, Delta, Grammar, Sampling

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

GREEDY = Sampling(temperature=0)
NUM_SCHEMAS = 200
# More than the longest answer: a babbling model uses up what a schema leaves open.
MAX_TOKENS = 500
THINKING = {"<jupyter_start>": "<think>", "<jupyter_text>": "</think>"}
# Of the default model's tokenizer.
THINK, END_THINK = 11, 12
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 1, "maximum": 120},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
# Says nothing of other names.
NAMED = {keyword: value for keyword, value in PERSON.items() if keyword != "additionalProperties"}


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path) -> str:
    """A random model: what it says without a grammar is noise."""
    return str(tiny_llama)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> str:
    """The same with a tokenizer that knows thoughts."""
    folder = tmp_path_factory.mktemp("models") / "thinker"
    write_tiny_llama(folder, smollm2, THINKING)
    return str(folder)


def grammar(kind: str, text: object) -> Grammar:
    text = text if isinstance(text, str) else json.dumps(text)
    return Grammar(kind=kind, text=text, param="guided")  # type: ignore[arg-type]


def schema(content: object) -> Grammar:
    return grammar("json_schema", content)


@pytest.fixture(scope="module")
def terse(smollm2: Path) -> dict[int, float]:
    """A bias against white space: a random model would say little else."""
    return {
        token: -100.0
        for piece, token in vocabulary_of(smollm2).items()
        if not piece.strip("\u0120\u010a\u0109\u010d")
    }


@pytest.fixture(scope="module")
def commas(smollm2: Path) -> dict[int, float]:
    """A bias against the end of an object, where it may go on."""
    return {token: 50.0 for piece, token in vocabulary_of(smollm2).items() if piece.startswith(",")}


def vocabulary_of(model: Path) -> dict[str, int]:
    vocabulary: dict[str, int] = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    return vocabulary


def noise(seed: int, **fields: object) -> ChatRequest:
    return say("Go on.", sampling=Sampling(seed=seed), **fields)


def person(**fields: object) -> ChatRequest:
    known = {"sampling": GREEDY, "max_tokens": 200, "grammar": schema(PERSON)}
    return say("Go on.", **known | fields)


def no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs), f"a name twice: {[name for name, _ in pairs]}"
    return dict(pairs)


def test_the_answers_to_random_schemas_validate_among_plain_rows_that_notice_nothing(
    run: Run, tiny: str, terse: dict[int, float]
) -> None:
    plain = [
        Job(
            id=f"plain-{n}",
            chat=say("Go on.", sampling=Sampling(seed=n), max_tokens=30, ignore_eos=True),
            add_at=n * 40,
        )
        for n in range(8)
    ]
    schemas = {f"schema-{seed}": random_schema(seed) for seed in range(NUM_SCHEMAS)}
    alone = run(*(Job(id=job.id, chat=job.chat, add_at=n * 60) for n, job in enumerate(plain)), path=tiny)
    constrained = [
        Job(
            id=name,
            chat=say(
                "Go on.",
                sampling=Sampling(seed=seed, logit_bias=terse),
                max_tokens=MAX_TOKENS,
                grammar=schema(content),
            ),
        )
        for seed, (name, content) in enumerate(schemas.items())
    ]

    report = run(*plain, *constrained, path=tiny, settings={"num_slots": 16})

    wrong = {}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    for name, content in schemas.items():
        text = report.text(name)
        try:
            assert report.done(name).finish_reason == "stop"
            value = json.loads(text, object_pairs_hook=no_duplicates)
            jsonschema.validate(value, content, jsonschema.Draft202012Validator, format_checker=checker)
        except (AssertionError, ValueError, jsonschema.ValidationError) as e:
            wrong[name] = (str(e)[:300], report.of(name)[-1], text, json.dumps(content))
    assert wrong == {}
    assert [report.text(job.id) for job in plain] == [alone.text(job.id) for job in plain]


def test_a_grammar_holds_from_the_end_of_the_thoughts_on(run: Run, thinker: str) -> None:
    """The model is pushed into its thoughts, and then out of them."""
    yes = grammar("lark", 'start: "yes"')
    calm = Sampling(temperature=0, logit_bias={THINK: -100})
    pushed = Sampling(temperature=0, logit_bias={THINK: 100, END_THINK: 99.5}, frequency_penalty=2)

    report = run(
        Job(id="thinks", chat=say("Go on.", sampling=pushed, max_tokens=60, grammar=yes)),
        Job(
            id="answers",
            chat=say("Go on.", sampling=calm, grammar=yes),
        ),
        Job(id="completes", completion=CompletionRequest(prompt="Go on.", sampling=pushed, grammar=yes)),
        path=thinker,
    )

    assert report.text("answers") == report.text("completes") == "yes"
    assert report.text("thinks").endswith("yes")
    assert report.done("thinks").finish_reason == "stop"
    # The start and end of the thoughts are tokens.
    assert report.done("thinks").usage.completion_tokens >= 3


def test_each_row_has_its_own_grammar(run: Run, tiny: str) -> None:
    """Also two rows of the same one, which is compiled once."""
    expressions = {
        "number": r"\d{3}-\d{2}",
        "word": r"[a-f]{5,9}",
        "again": r"[a-f]{5,9}",
        "way": r"(north|south)\.(east|west)",
        "unicode": r"[äöü]{3}",
    }
    jobs = [
        Job(
            id=name,
            chat=say("Go on.", sampling=Sampling(seed=n), max_tokens=40, grammar=grammar("regex", one)),
        )
        for n, (name, one) in enumerate(expressions.items())
    ]

    report = run(*jobs, path=tiny)

    for name, expression in expressions.items():
        assert re.fullmatch(expression, report.text(name)), (expression, report.text(name))
        assert report.done(name).finish_reason == "stop"
    assert report.text("word") != report.text("again")


def test_a_lark_grammar_may_nest(run: Run, tiny: str) -> None:
    nested = 'start: "(" (start | /[0-9]/) ")" | "[" /[a-z]/ "]"'
    jobs = [
        Job(
            id=f"{n}",
            chat=say("Go on.", sampling=Sampling(seed=n), max_tokens=200, grammar=grammar("lark", nested)),
        )
        for n in range(6)
    ]

    report = run(*jobs, path=tiny)

    for job in jobs:
        text = report.text(job.id)
        depth = text.count("(")
        assert re.fullmatch(rf"\({{{depth}}}(\d|\[[a-z]\])?\){{{depth}}}", text), text


def test_a_time_does_not_end_in_a_leap_second(run: Run, tiny: str, smollm2: Path) -> None:
    """Which a validator refuses, in all minutes but a few."""
    six, hour = (vocabulary_of(smollm2)[digit] for digit in "61")
    pushed = Sampling(temperature=0, logit_bias={six: 100, hour: 50})
    text = {"type": "string", "format": "time", "maxLength": 12}

    report = run(Job(id="time", chat=say("Go on.", sampling=pushed, grammar=schema(text))), path=tiny)

    assert jsonschema.validate(json.loads(report.text("time")), {"pattern": ":[0-5][0-9][^:]*$"}) is None


def test_what_is_drawn_does_not_depend_on_the_neighbours(run: Run, tiny: str) -> None:
    jobs = [
        Job(
            id=f"{n}",
            chat=say("Go on.", sampling=Sampling(seed=n, top_p=0.9), max_tokens=60, grammar=schema(PERSON)),
        )
        for n in range(4)
    ]
    together = run(*jobs, path=tiny)
    alone = [run(job, path=tiny).text(job.id) for job in jobs]

    assert [together.text(job.id) for job in jobs] == alone
    assert len(set(alone)) == 4


REFUSED: dict[str, tuple[Grammar, str]] = {
    **{
        keyword: (schema({"type": "object", "properties": {"a": {keyword: value}}}), keyword)
        for keyword, value in {
            "uniqueItems": True,
            "not": {"type": "string"},
            "if": {"type": "string"},
            "contains": {"type": "string"},
            "propertyNames": {"maxLength": 3},
            "dependentRequired": {"a": ["b"]},
            "unevaluatedProperties": False,
            "$dynamicRef": "#x",
            "x-guidance": {"lenient": True},
            "divisibleBy": 2,
        }.items()
    },
    "format": (schema({"type": "string", "format": "idn-email"}), "idn-email"),
    "look-around": (schema({"type": "string", "pattern": "(?!a)b"}), "look-around"),
    "unsatisfiable": (schema({"type": "integer", "minimum": 3, "maximum": 2}), "greater"),
    "another document": (schema({"$ref": "http://example.com/x"}), "example.com"),
    "no schema": (schema([1]), "expected a JSON Schema"),
    "no JSON": (grammar("json_schema", "{"), "expected JSON"),
    "no regular expression": (grammar("regex", "(a"), "unclosed"),
    "no Lark": (grammar("lark", "start: x"), "x"),
    "too deep": (grammar("json_schema", '{"items":' * 70 + "{}" + "}" * 70), "64 levels"),
    "deep as a stack": (grammar("json_schema", '{"not":' * 10_000), "expected JSON"),
    "products": (
        schema({"allOf": [{"type": "integer", "multipleOf": p} for p in (7, 11, 13, 17, 19, 23)]}),
        "too complex",
    ),
    "repetition": (grammar("regex", "((a{1000}){1000}){1000}"), "too complex"),
    "behind a door": (grammar("regex", "ab((a{1000}){1000}){1000}"), "too complex"),
}


def test_what_cannot_be_kept_to_is_refused_and_nobody_notices(run: Run, tiny: str) -> None:
    running = Job(id="running", chat=say("Go on.", sampling=GREEDY, max_tokens=200, ignore_eos=True))
    late = Job(
        id="late", chat=say("Go on.", sampling=GREEDY, max_tokens=60, grammar=schema(PERSON)), add_at=1
    )
    alone = run(running, path=tiny).text("running")
    hostile = [
        Job(id=f"hostile-{n}", chat=say("Go on.", max_tokens=5, grammar=refused))
        for n, (refused, _) in enumerate(REFUSED.values())
    ]

    report = run(running, *hostile, late, path=tiny)

    for n, (_, reason) in enumerate(REFUSED.values()):
        error = report.error(f"hostile-{n}")
        assert (error.code, error.param) == ("invalid_request", "guided")
        assert reason in error.message
        assert len(error.message) < 400
    assert report.text("running") == alone
    jsonschema.validate(json.loads(report.text("late")), PERSON)


# What took other engines minutes or their lives: vLLM CVE-2026-55574, xgrammar GHSA-5cmr.
DREADED = {
    "nested repetition": grammar("regex", "(a+)+b"),
    "a schema that is itself": schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}),
    "a deep rule": grammar("lark", "start: " + "(" * 3000 + '"a"' + ")" * 3000),
    "a rule that is itself": grammar("lark", 'start: start start | ""'),
    "patterns by the thousand": schema({"patternProperties": {f"^a{n}$": {} for n in range(2000)}}),
}
# 3 s are to be kept; thrice that on a busy test machine.
MAX_DREADED_S = 9.0


def test_what_stopped_other_engines_is_kept_to_or_refused_in_time(run: Run, tiny: str) -> None:
    running = Job(id="running", chat=say("Go on.", sampling=GREEDY, max_tokens=20, ignore_eos=True))
    dreaded = [Job(id=name, chat=say("Go on.", max_tokens=5, grammar=one)) for name, one in DREADED.items()]
    alone = run(running, path=tiny).text("running")

    began = time.monotonic()
    report = run(running, *dreaded, path=tiny)

    assert time.monotonic() - began < MAX_DREADED_S
    assert report.text("running") == alone
    for name in ("a schema that is itself", "a deep rule", "patterns by the thousand"):
        assert report.error(name).param == "guided"
    for name in ("nested repetition", "a rule that is itself"):
        assert report.done(name)


def test_sampling_penalties_stops_and_logprobs_go_on_to_work(
    run: Run, tiny: str, commas: dict[int, float]
) -> None:
    drawn = Sampling(temperature=1, seed=7, frequency_penalty=0.5, top_k=20, min_p=0.02, logit_bias={5: 3})
    goes_on = Sampling(temperature=0, logit_bias=commas)
    report = run(
        Job(id="greedy", chat=person()),
        Job(id="named", chat=person(sampling=goes_on, grammar=schema(NAMED))),
        Job(id="drawn", chat=person(sampling=drawn)),
        Job(id="logprobs", chat=person(top_logprobs=5)),
        Job(id="stopped", chat=person(stop=('"age"',))),
        Job(id="short", chat=person(max_tokens=5)),
        Job(id="beyond", chat=person(ignore_eos=True)),
        path=tiny,
    )

    for job in ("greedy", "drawn", "named", "logprobs", "beyond"):
        jsonschema.validate(json.loads(report.text(job)), PERSON)
        assert report.done(job).finish_reason == "stop"
    assert report.text("logprobs") == report.text("beyond") == report.text("greedy")
    logprobs = [
        one for _, delta in report.of("logprobs") if isinstance(delta, Delta) for one in delta.logprobs
    ]
    assert len(logprobs) == report.done("logprobs").usage.completion_tokens
    assert all(one.logprob > -1000 and len(one.top) == 5 for one in logprobs)
    assert all(other.logprob > -1000 for one in logprobs for other in one.top)
    assert report.done("stopped").stop == '"age"'
    assert report.text("greedy").startswith(report.text("stopped"))
    assert report.done("short").finish_reason == "length"
    assert report.text("greedy").startswith(report.text("short"))


def test_a_row_that_was_taken_out_keeps_to_its_grammar(run: Run, tiny: str) -> None:
    jobs = [Job(id=f"{n}", chat=person(sampling=Sampling(temperature=1, seed=n)), add_at=n) for n in range(4)]

    def limited(num_tokens: int) -> Report:
        settings = {"kv_cache_bytes": num_tokens * TOKEN_BYTES}
        return run(*jobs, path=tiny, growth_tokens=16, settings=settings)

    free, report = limited(0), limited(160)

    assert report.num_withdrawn >= 1
    assert [report.text(job.id) for job in jobs] == [free.text(job.id) for job in jobs]
    for job in jobs:
        jsonschema.validate(json.loads(report.text(job.id)), PERSON)


def test_after_a_failed_step_rows_keep_to_their_grammars(run: Run, tiny: str) -> None:
    report = run(
        Job(id="a", chat=person()),
        Job(id="broken", chat=person(sampling=Sampling(seed=99))),
        Job(id="b", chat=person(sampling=Sampling(temperature=1, seed=5))),
        path=tiny,
        broken_seed=99,
        broken_from=6,
    )

    assert report.error("broken").code == "worker_error"
    for job in ("a", "b"):
        jsonschema.validate(json.loads(report.text(job)), PERSON)


def test_a_row_may_leave_while_its_grammar_is_compiled(run: Run, tiny: str) -> None:
    slow = schema({"allOf": [{"type": "integer", "multipleOf": p} for p in (29, 31, 37, 41, 43, 47)]})

    report = run(
        Job(id="left", chat=person(grammar=slow), cancel_at=2), Job(id="stays", chat=person()), path=tiny
    )

    assert report.done("left").finish_reason == "cancelled"
    jsonschema.validate(json.loads(report.text("stays")), PERSON)
