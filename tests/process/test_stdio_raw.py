"""`mlxd stdio` with the raw methods: what a program gets that wants OpenAI's API without a port."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_harness import EYES, serving_echoes
from PIL import Image
from stdio_harness import Program, editor, texts


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An MLXD_HOME whose kernel runs as long as the module."""
    with serving_echoes(tmp_path_factory.mktemp("stdio")) as home:
        yield home


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `file:` URLs may name."""
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def program(served: Path, pictures: Path) -> Iterator[Program]:
    """One process for tests that leave nothing behind."""
    with editor(served, MLXD_STDIO_FILE_ROOTS=str(pictures)) as running:
        yield running


def chat(text: object, model: str = "echo/plain", **more: object) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def picture(width: int = 3, height: int = 2) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), "#ff0000").save(content, "PNG")
    return content.getvalue()


def shown(url: str) -> dict[str, Any]:
    return chat([{"type": "image_url", "image_url": {"url": url}}], EYES)


def test_a_chat_is_answered_in_the_shape_of_openai(program: Program) -> None:
    result = program.ask("chat.completions.create", **chat("one two é 🙂"))

    assert "chat.completion" == result["object"]
    assert "one two é 🙂" == result["choices"][0]["message"]["content"]
    assert 4 == result["usage"]["completion_tokens"]


def test_several_answers_are_streamed_by_their_index(program: Program) -> None:
    id_ = program.request("chat.completions.create", **chat("one two", n=2, stream=True))
    chunks = []
    while (message := program.message()).get("id") != id_:
        if message["method"] == "chunk":
            chunks += message["params"]["chunk"]["choices"]
    result = message["result"]

    assert {0, 1} == {one["index"] for one in chunks}
    assert ["one two"] * 2 == [one["message"]["content"] for one in result["choices"]]
    assert (2, 4) == (result["usage"]["prompt_tokens"], result["usage"]["completion_tokens"])


def test_a_stream_comes_as_notifications_before_the_whole_answer(program: Program) -> None:
    id_ = program.request("chat.completions.create", **chat("one two three", stream=True))
    messages = []
    while "result" not in (message := program.message()):
        messages.append(message)
    chunks = [message["params"] for message in messages if message["method"] == "chunk"]

    assert {id_} == {chunk["id"] for chunk in chunks}
    assert "one two three" == texts([chunk["chunk"] for chunk in chunks])
    assert "one two three" == message["result"]["choices"][0]["message"]["content"]
    assert "stop" == chunks[-1]["chunk"]["choices"][0]["finish_reason"]


def test_the_last_chunk_has_the_usage_if_it_is_wanted(program: Program) -> None:
    id_ = program.request(
        "completions.create",
        model="echo/plain",
        prompt="a b",
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = []
    while (message := program.message()).get("id") != id_:
        if message["method"] == "chunk":
            chunks.append(message["params"]["chunk"])

    assert 2 == chunks[-1]["usage"]["prompt_tokens"]
    assert [] == chunks[-1]["choices"]


def test_a_completion_takes_several_prompts_and_a_suffix(program: Program) -> None:
    result = program.ask("completions.create", model="echo/plain", prompt=["a b", "c"])
    filled = program.ask("completions.create", model="echo/plain", prompt="def f(", suffix="):")

    assert ["a b", "c"] == [choice["text"] for choice in result["choices"]]
    assert "def f(<middle>):" == filled["choices"][0]["text"]


def test_tokens_are_counted_as_the_model_has_them(program: Program) -> None:
    assert {"input_tokens": 3} == program.ask("tokens.count", **chat("one two three"))
    assert {"input_tokens": 3} == program.ask("tokens.count", model="echo/plain", prompt=["a b", "c"])


def test_texts_become_vectors_and_documents_are_ranked(program: Program) -> None:
    vectors = program.ask("embeddings.create", model="echo/plain", input=["one", "two three", "one"])
    documents = ["none", "a red fish", "a fish"]
    ranked = program.ask("rerank", model="echo/plain", query="red fish", documents=documents)

    first, second, third = (item["embedding"] for item in vectors["data"])
    assert first == third != second
    assert {"prompt_tokens": 4, "total_tokens": 4} == vectors["usage"]
    assert [1, 2, 0] == [result["index"] for result in ranked["results"]]


def test_models_and_status_are_told(program: Program) -> None:
    models = program.ask("models.list")
    status = program.ask("status")

    assert "echo/plain" in {model["id"] for model in models["data"]}
    assert "stdio" in {frontend["kind"] for frontend in status["frontends"]}


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        (chat("x", temperature=3), -32602, "temperature"),
        (chat("x", temprature=1), -32602, "temprature"),
        (chat("x", "no/such"), -32602, "model"),
        (chat("x", "demo/smollm2-135m", reasoning_effort="low"), -32602, "reasoning_effort"),
        ({"model": "echo/plain"}, -32602, "messages"),
    ],
)
def test_an_error_names_the_field(program: Program, params: dict[str, Any], code: int, param: str) -> None:
    error = program.ask("chat.completions.create", **params)

    assert (code, param) == (error["code"], error["data"]["param"])


def test_a_cancelled_request_ends_once_and_frees_its_slot(program: Program) -> None:
    words = " ".join(map(str, range(10_000)))
    id_ = program.request("chat.completions.create", **chat(words, "echo/narrow", stream=True))
    while program.message().get("method") != "chunk":
        pass
    program.notify("$/cancelRequest", id=id_)

    assert -32800 == program.answer(id_)["code"]
    # The model has one slot; nothing is said of the dead one any more.
    second = program.request("chat.completions.create", **chat("next", "echo/narrow"))
    assert {"id": second} == {"id": program.message()["id"]}


# --- pictures ---------------------------------------------------------------------------------


def test_a_picture_comes_as_a_data_url_or_from_an_allowed_folder(program: Program, pictures: Path) -> None:
    (pictures / "a b.png").write_bytes(picture())
    data = base64.b64encode(picture()).decode()
    urls = [f"data:image/png;base64,{data}", (pictures / "a b.png").as_uri()]

    seen = [program.ask("chat.completions.create", **shown(url)) for url in urls]

    assert ["3x2:ff0000-ff0000"] * 2 == [answer["choices"][0]["message"]["content"] for answer in seen]
