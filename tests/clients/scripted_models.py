"""Models that say what a client's tests want to hear, where the meaning of an answer matters."""

from __future__ import annotations

import json
from pathlib import Path

from running import add_model


def call(name: str, /, **arguments: object) -> str:
    """A call as an echo model writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}</tool_call>"


JOKE = {"setup": "Why do cats purr?", "punchline": "It works."}
# Of LangChain's tests: a part of the question -> the answer.
LANGCHAIN = {
    "magic_function(3)": call("magic_function", input=3),
    "magic_function_no_args()": call("magic_function_no_args"),
    "Hello!": call("magic_function", input=3),
    "Pirate greeting": call("greeting_generator", answer_style="pirate"),
    "What is 3 + 4": call("my_adder_tool", a=3, b=4),
    "San Francisco": call("get_weather", location="San Francisco, CA"),
    "你好啊集团": call("unicode_customer", customer_name="你好啊集团", description="A company."),
    "こんにちは株式会社": call(
        "unicode_customer", customer_name="こんにちは株式会社", description="A company."
    ),
    "Think.": "<think>I think.</think>Done.",
}
# What names no tool of the request is text.
JOKE_CALLS = "".join(call(name, **JOKE) for name in ("Joke", "JokeDict"))
FILE = "def add(a, b):\n    return a + b\n"

# Its answer is JSON where the question wants JSON, and a call of a tool otherwise.
SCRIPTED_MODEL = "scripted/client"
SCRIPT = {
    **LANGCHAIN,
    "Return the result as a JSON": json.dumps(JOKE),
    "joke": JOKE_CALLS,
    "Paris": call("City", name="Paris", country="France"),
    "version of llm": call("llm_version"),
    # aider's "whole" form.
    "Mend add": f"calc.py\n```\n{FILE}```\n",
}


def add_scripted_model(home: Path) -> None:
    """Put it into *home*: it takes pictures, and requests for JSON."""
    add_model(home, SCRIPTED_MODEL, script=SCRIPT, modalities=["text", "image"], grammars=True)
