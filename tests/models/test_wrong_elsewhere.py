"""What other servers of models on mlx were seen to get wrong: here, of text and of pictures, it is right.

One `mlxd serve` with both models for all of it: loading takes longer than the answers.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import openai
import psutil
import pytest
from openai import OpenAI
from pictures import data_url, png, scorecard
from running import DEFAULT_MODEL, VISION_MODEL

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

TIMEOUT_S = 60.0
BOTH = pytest.mark.parametrize("model", [DEFAULT_MODEL, VISION_MODEL])
CARD = scorecard(("Tests", "98", "green"), ("Latency", "412", "red"), ("Errors", "7", "amber"))
PICTURE = {"type": "image_url", "image_url": {"url": data_url(png(CARD))}}
# What each model answers to in a known way, and to what without an end in sight.
KNOWN = {
    DEFAULT_MODEL: "What is the capital of France?",
    VISION_MODEL: [PICTURE, {"type": "text", "text": "Which row is red?"}],
}
ANSWERS = {DEFAULT_MODEL: "The capital of France is Paris.", VISION_MODEL: "Latency"}
OPEN = {
    DEFAULT_MODEL: "Tell me a story.",
    VISION_MODEL: [PICTURE, {"type": "text", "text": "Describe the image."}],
}
SCHEMA = {
    "type": "object",
    "properties": {
        "row": {"enum": ["Tests", "Latency", "Errors"]},
        "value": {"type": "integer", "maximum": 999, "minimum": 0},
    },
    "required": ["row", "value"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def server(
    vision_prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[psutil.Process, str]]:
    """The process of `mlxd serve`, and where it answers."""
    home = tmp_path_factory.mktemp("peers") / "home"
    (home / "models").mkdir(parents=True)
    (home / "envs").symlink_to(vision_prepared / "envs")
    (home / "models" / "demo").symlink_to(vision_prepared / "models" / "demo")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLXD_")}
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("mlxd")), "serve", DEFAULT_MODEL, VISION_MODEL],
        env=kept | {"MLXD_HOME": str(home), "MLXD_HTTP_PORT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("mlxd is ready at "), line
        yield psutil.Process(process.pid), line.split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)


@pytest.fixture
def sdk(server: tuple[psutil.Process, str]) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server[1]}/v1", api_key="none", max_retries=0, timeout=TIMEOUT_S) as client:
        yield client


def ask(sdk: OpenAI, model: str, content: object = None, **fields: Any) -> Any:
    turns = [{"role": "user", "content": content or OPEN[model]}]
    return sdk.chat.completions.create(**{"model": model, "messages": turns, "temperature": 0} | fields)  # type: ignore[call-overload]


def worker_of(server: psutil.Process, model: str) -> psutil.Process:
    command = ["workers", "serve", "vision" if model == VISION_MODEL else "text"]
    (worker,) = [one for one in server.children(recursive=True) if one.cmdline()[-3:] == command]
    return worker


def said(answer: Any) -> list[str]:
    return [choice.message.content for choice in answer.choices]


@BOTH
@pytest.mark.parametrize("as_list", [False, True])
def test_stop(sdk: OpenAI, model: str, *, as_list: bool) -> None:
    """Seen: ignored, or the text cut out and the answer run on to max_tokens."""
    stop = ANSWERS[model][-4:-2]
    answer = ask(sdk, model, KNOWN[model], stop=["~~~", stop] if as_list else stop)

    assert said(answer) == [ANSWERS[model].partition(stop)[0]]
    assert answer.choices[0].finish_reason == "stop"


@BOTH
def test_n_and_seed(sdk: OpenAI, model: str) -> None:
    """Seen: one answer, without a word; and the seed ignored."""
    fields = {"temperature": 2, "max_tokens": 4}
    alone = [said(ask(sdk, model, **fields, seed=seed))[0] for seed in (7, 8)]
    several = ask(sdk, model, **fields, seed=7, n=2)
    streamed: dict[int, str] = {}
    for chunk in ask(sdk, model, **fields, seed=7, n=2, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] = streamed.get(choice.index, "") + (choice.delta.content or "")

    assert said(several) == alone == [streamed[0], streamed[1]]
    assert alone[0] != alone[1]
    single = ask(sdk, model, max_tokens=1).usage.prompt_tokens
    assert several.usage.prompt_tokens == single
    assert several.usage.completion_tokens == 8


@BOTH
def test_max_completion_tokens(sdk: OpenAI, model: str) -> None:
    """Seen: ignored, with 2048 tokens of answer."""
    answer = ask(sdk, model, max_completion_tokens=3)

    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (3, "length")


@BOTH
def test_logit_bias_and_logprobs(sdk: OpenAI, model: str) -> None:
    """Seen: ignored."""
    answer = ask(sdk, model, max_tokens=2, logit_bias={"300": 100}, logprobs=True, top_logprobs=2)
    first, second = answer.choices[0].logprobs.content

    assert first.token == second.token
    assert len(first.top_logprobs) == 2


@BOTH
def test_samplers_of_local_models(sdk: OpenAI, model: str) -> None:
    """Seen: some of them ignored, each server its own."""

    def text(fields: dict[str, object]) -> str:
        temperature = fields.pop("temperature", 0)
        asked = {"temperature": temperature, "extra_body": {"ignore_eos": True, **fields}}
        question = "Hi" if model == VISION_MODEL else OPEN[model]
        return said(ask(sdk, model, question, max_tokens=16, **asked))[0]

    same: list[dict[str, object]] = [{"temperature": 2, "top_k": 1}, {"temperature": 2, "min_p": 1}]
    other: list[dict[str, object]] = [
        {"frequency_penalty": 2},
        {"presence_penalty": 2},
        {"repetition_penalty": 2},
        {"temperature": 0.01, "xtc_probability": 1, "xtc_threshold": 0},
    ]
    # At once, for they share each step.
    with ThreadPoolExecutor() as pool:
        likeliest, *texts = pool.map(text, [{}, *same, *other])

    assert texts[: len(same)] == [likeliest] * len(same)
    assert likeliest not in texts[len(same) :]


@BOTH
def test_an_answer_that_was_begun_is_gone_on_with(sdk: OpenAI, model: str) -> None:
    """Seen: begun anew."""
    whole = said(ask(sdk, model, max_tokens=8))[0]
    begun = " ".join(whole.split()[:2])
    turns = [{"role": "user", "content": OPEN[model]}, {"role": "assistant", "content": begun}]
    rest = said(ask(sdk, model, messages=turns, max_tokens=3, extra_body={"continue_final_message": True}))[0]

    assert rest
    assert whole.startswith(begun + rest)


@BOTH
def test_a_stream_says_its_usage_where_it_is_asked_for(sdk: OpenAI, model: str) -> None:
    """Seen: an error of the server where `stream_options` is empty."""
    told = [
        [chunk.usage for chunk in ask(sdk, model, max_tokens=2, stream=True, stream_options=options)]
        for options in ({"include_usage": True}, {})
    ]

    assert [one for one in told[0] if one] == told[0][-1:]
    assert told[0][-1].completion_tokens == 2
    assert not any(told[1])


@BOTH
def test_what_makes_no_sense_is_refused_by_name(
    sdk: OpenAI, server: tuple[psutil.Process, str], model: str
) -> None:
    """Seen: a minute of answer, or an error of the server."""
    wrong: list[dict[str, Any]] = [
        {"max_tokens": -5},
        {"max_tokens": 0},
        {"max_tokens": 100_000},
        {"max_completion_tokens": 100_000},
        {"temperature": -3},
        {"temperature": "hot"},
        {"top_p": 0},
        {"messages": []},
        {"logit_bias": {"99999999": 1}},
    ]
    worker = worker_of(server[0], model)
    for fields in wrong:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(sdk, model, **fields)
        assert refused.value.param == next(iter(fields))

    assert worker_of(server[0], model) == worker


@BOTH
def test_a_prompt_over_the_context(sdk: OpenAI, model: str) -> None:
    """Seen: read for more than a minute."""
    context_length = sdk.models.retrieve(model).model_extra["context_length"]  # type: ignore[index]
    began = time.monotonic()
    with pytest.raises(openai.BadRequestError) as refused:
        ask(sdk, model, "word " * (context_length + 1))

    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")
    assert time.monotonic() - began < 10


@BOTH
def test_a_json_schema_without_metal(sdk: OpenAI, model: str) -> None:
    """Seen: ignored, or an error of the server. With a picture it is kept to as well."""
    wanted = {"type": "json_schema", "json_schema": {"name": "row", "schema": SCHEMA, "strict": True}}
    answer = ask(sdk, model, response_format=wanted, n=2, temperature=2, seed=1)

    for text, choice in zip(said(answer), answer.choices, strict=True):
        jsonschema.validate(json.loads(text), SCHEMA)
        assert choice.finish_reason == "stop"


@BOTH
@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ({"guided_regex": "[a-f]{3}-[0-9]{4}"}, "[a-f]{3}-[0-9]{4}"),
        (
            {"guided_grammar": 'start: "<" word ("," word)~2 ">"\nword: /[xyz]{2}/'},
            "<[xyz]{2}(,[xyz]{2}){2}>",
        ),
    ],
    ids=["regex", "lark"],
)
def test_a_regex_and_a_grammar_without_metal(
    sdk: OpenAI, model: str, grammar: dict[str, str], pattern: str
) -> None:
    """Seen: an error of the server. Streamed."""
    stream = ask(sdk, model, extra_body=grammar, stream=True, temperature=2, seed=1, max_tokens=40)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert re.fullmatch(pattern, text)


@BOTH
def test_a_keyword_that_would_not_be_kept_to_is_named(sdk: OpenAI, model: str) -> None:
    """Seen: ignored."""
    wanted = {"name": "x", "schema": {"type": "array", "uniqueItems": True}}
    with pytest.raises(openai.BadRequestError, match="uniqueItems") as refused:
        ask(sdk, model, response_format={"type": "json_schema", "json_schema": wanted})

    assert refused.value.param == "response_format.json_schema.schema"


def test_a_picture_for_a_model_of_text(sdk: OpenAI) -> None:
    """Seen: answered as if there were none."""
    with pytest.raises(openai.BadRequestError) as refused:
        ask(sdk, DEFAULT_MODEL, OPEN[VISION_MODEL])

    assert (refused.value.code, refused.value.param) == (
        "task_not_supported",
        "messages[0].content[0].image_url",
    )
    assert VISION_MODEL in refused.value.message


@BOTH
def test_models_say_what_they_honour_and_refuse_the_rest(sdk: OpenAI, model: str) -> None:
    """Seen: a forced call ignored, or asked for in the prompt; thoughts asked of a model without."""
    known = sdk.models.retrieve(model).model_extra
    assert known is not None
    for param, fields in (
        ("tools", {"tools": [TOOL]}),
        ("tools", {"tools": [TOOL], "tool_choice": "required"}),
        ("reasoning_effort", {"reasoning_effort": "high"}),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(sdk, model, **fields)
        assert (refused.value.code, refused.value.param) == ("task_not_supported", param)

    assert "structured_output" in known["capabilities"]
    assert ("vision" in known["capabilities"]) == (model == VISION_MODEL)
    assert not {"tools", "reasoning"} & {*known["capabilities"]}


def test_an_unknown_model_changes_nothing(sdk: OpenAI) -> None:
    """Seen: the loaded one thrown out of memory, or answering in its place."""
    with pytest.raises(openai.NotFoundError) as refused:
        ask(sdk, "no/such", "hi")

    assert refused.value.code == "model_not_found"
    assert {sdk.models.retrieve(name).model_extra["state"] for name in ANSWERS} == {"ready"}  # type: ignore[index]


@BOTH
def test_a_field_without_effect_is_named(sdk: OpenAI, model: str) -> None:
    """Seen: ignored, without a word: what nobody knows, and a bound of thoughts where there are none."""
    raw = sdk.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=1,
        extra_body={"mirostat": 2, "thinking_budget": 5},
    )

    assert raw.headers["x-mlxd-ignored"] == "mirostat, thinking_budget"


@BOTH
def test_a_dead_process_is_not_called_ready_and_comes_back(
    sdk: OpenAI, server: tuple[psutil.Process, str], model: str
) -> None:
    """Seen: called healthy for ever, with every answer an error, or a request that never ends."""
    worker = worker_of(server[0], model)
    asked = ask(sdk, model, max_tokens=200, stream=True, extra_body={"ignore_eos": True}, n=2)
    next(iter(asked))
    worker.kill()
    with pytest.raises(openai.APIError):
        list(asked)
    # The end of the process is known before its requests end.
    state = sdk.models.retrieve(model).model_extra["state"]  # type: ignore[index]

    assert said(ask(sdk, model, KNOWN[model])) == [ANSWERS[model]]
    assert state != "ready"
    assert sdk.models.retrieve(model).model_extra["state"] == "ready"  # type: ignore[index]
