"""How an answer is generated, as flags of `mlxd run` and `/set` of `mlxd chat`: one table for both."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

import click
import msgspec
import msgspec.inspect

from transports.messages import ChatRequest, Generate, Reasoning, Sampling
from transports.setting_types import describe

# Field of Generate, Sampling or, by `REASONING`, of Reasoning -> its help.
OPTIONS: Mapping[str, str] = {
    "max_tokens": "Longest answer. Default: up to the end of the context.",
    "temperature": "Randomness; 0 always takes the most likely token.",
    "top_p": "Choose among the most likely tokens that together have this probability.",
    "top_k": "Choose among this many most likely tokens; 0 is off.",
    "min_p": "Drop tokens less likely than this part of the most likely one.",
    "xtc_probability": "How often XTC drops the most likely tokens.",
    "xtc_threshold": "Tokens above this probability are those that XTC drops, all but the least of them.",
    "repetition_penalty": "Above 1 makes tokens of prompt and answer less likely.",
    "presence_penalty": "Above 0 makes tokens less likely that the answer has already.",
    "frequency_penalty": "The same, for each time that it has them.",
    "seed": "The same seed, prompt and settings give the same answer.",
    "stop": "End the answer before this text. May be given several times.",
    "reasoning_effort": "Whether and how hard a model thinks first: none, minimal, low, medium, high, xhigh.",
    "thinking_budget": "Tokens of thought at most; then the answer begins.",
}
METAVARS = {"stop": "TEXT", "reasoning_effort": "EFFORT"}
# Option -> its field of Reasoning.
REASONING = {"reasoning_effort": "effort", "thinking_budget": "max_tokens"}

F = TypeVar("F", bound=Callable[..., object])


def generation_flags(command: F) -> F:
    """Give a click command one flag for each of `OPTIONS`; their checked values come as keywords."""
    for name, help_ in reversed(list(OPTIONS.items())):
        command = click.option(
            flag(name),
            multiple=name == "stop",
            metavar=METAVARS.get(name, "NUMBER"),
            callback=_check_flag,
            help=help_,
        )(command)
    return command


def flag(name: str) -> str:
    """The flag of an option: "top_p" -> "--top-p"."""
    return "--" + name.replace("_", "-")


def parse_option(name: str, text: str) -> object:
    """The value of an option from what a person typed.

    Raises:
        ValueError: What is allowed, and what was typed, in one line.
    """
    annotation = _annotations()[name]
    try:
        value = msgspec.convert((text,) if name == "stop" else text, annotation, strict=False)
    except msgspec.ValidationError:
        value = None
    # "null" is None to msgspec, and allowed in a request.
    if value is None:
        raise ValueError(f"expected {allowed(name)}, got {json.dumps(text)}")
    return value


def allowed(name: str) -> str:
    """What an option takes, in words."""
    if name == "stop":
        return "a text of 1 to 256 characters"
    type_ = msgspec.inspect.type_info(_annotations()[name])
    if isinstance(type_, msgspec.inspect.UnionType):
        type_ = next(t for t in type_.types if not isinstance(t, msgspec.inspect.NoneType))
    return describe(type_)


def chat_request(
    messages: tuple[msgspec.Struct, ...],
    options: Mapping[str, object],
) -> ChatRequest:
    """The request with these messages and the options that were given."""
    sampling = {name: value for name, value in options.items() if name in Sampling.__struct_fields__}
    reasoning = {REASONING[name]: value for name, value in options.items() if name in REASONING}
    if "effort" in reasoning:
        reasoning["enabled"] = reasoning["effort"] != "none"
    other = {name: value for name, value in options.items() if name not in {*sampling, *REASONING}}
    return msgspec.convert(
        {"messages": messages, "sampling": sampling, "reasoning": reasoning, **other},
        ChatRequest,
        from_attributes=True,
    )


def _check_flag(ctx: click.Context, param: click.Parameter, given: str | tuple[str, ...] | None) -> object:
    name = param.name or ""
    try:
        if isinstance(given, tuple):
            return tuple(text for item in given for text in _as_texts(parse_option(name, item)))
        return None if given is None else parse_option(name, given)
    except ValueError as e:
        raise click.BadParameter(str(e), ctx, param) from None


def _as_texts(value: object) -> tuple[str, ...]:
    return msgspec.convert(value, tuple[str, ...])


# Any: an annotation may be a class, Annotated or a union, and typing has no name for all of them.
@functools.cache
def _annotations() -> dict[str, Any]:
    of_reasoning = get_type_hints(Reasoning, include_extras=True)
    return (
        get_type_hints(Generate, include_extras=True)
        | get_type_hints(Sampling, include_extras=True)
        | {option: of_reasoning[field] for option, field in REASONING.items()}
    )
