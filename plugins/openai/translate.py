"""OpenAI's requests to the protocol's; refuses what would otherwise be dropped in silence and matters."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from plugins.keep_alive import keep_alive_of
from plugins.openai.grammars import grammar_of
from plugins.openai.requests import (
    MAX_INT32,
    MAX_PROMPTS,
    ChatBody,
    CompletionBody,
    ConversationBody,
    GenerateBody,
)
from plugins.openai.tools import read_reasoning, read_tools, thinking_fields
from plugins.openai.vector_requests import VectorBody
from plugins.raw_fields import has_value
from plugins.submit_terms import PRIORITIES, SubmitTerms
from plugins.thinking_models import ThinkingFields
from plugins.turns import check_text
from transports.errors import RequestError
from transports.messages import ChatMessage, ChatRequest, CompletionRequest, Grammar, Image, Sampling

# OpenAI's default for /v1/completions.
DEFAULT_COMPLETION_TOKENS = 16

# Fields of Sampling that mean the same in the body; what is absent keeps its default.
_SAME_NAME = (
    "temperature",
    "top_p",
    "min_p",
    "xtc_probability",
    "xtc_threshold",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
)


# What the dearer and the cheaper of OpenAI's classes of service are here; the others say nothing.
_PRIORITY_OF_TIER = {"priority": "high", "fast": "high", "ultrafast": "high", "flex": "low"}
_REFUSED = {
    "functions": "OpenAI replaced it by tools",
    "function_call": "OpenAI replaced it by tool_choice",
    "audio": "only text is produced",
    "moderation": "nothing is moderated here",
    "web_search_options": "no model here searches the web",
}


class CommonTerms(TypedDict):
    """Fields of `Generate`."""

    sampling: Sampling
    stop: tuple[str, ...]
    ignore_eos: bool
    grammar: Grammar | None


def check_chat(body: ChatBody) -> None:
    """Refuse what a chat cannot be asked for.

    Raises:
        RequestError: It asks for something that this version cannot do.
    """
    check_stream_options(body)
    _check_supported(body)
    if body.top_logprobs is not None and not body.logprobs:
        raise RequestError("top_logprobs: only with logprobs true", param="top_logprobs")
    _max_tokens(body)
    common_terms(body)
    read_tools(body.tools, body.tool_choice, body.parallel_tool_calls)
    keep_alive_s(body)


def chat_request(
    body: ChatBody, messages: tuple[ChatMessage, ...], images: tuple[Image, ...] = ()
) -> ChatRequest:
    """The body of submit for a chat that was checked; *messages* are its turns as `content.py` has them."""
    return ChatRequest(
        messages=messages,
        images=images,
        continues_last=bool(body.continue_final_message),
        max_tokens=_max_tokens(body),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        reasoning=read_reasoning(body.reasoning_effort, body.thinking_budget, body.chat_template_kwargs),
        **read_tools(body.tools, body.tool_choice, body.parallel_tool_calls),
        **common_terms(body),
    )


def other_names(body: ChatBody) -> dict[str, str]:
    """Fields of the protocol that *body* has under another name."""
    return {} if body.max_completion_tokens is None else {"max_tokens": "max_completion_tokens"}


def thinking_of(body: ChatBody) -> ThinkingFields:
    """The fields that have the model think."""
    return thinking_fields(body.reasoning_effort, body.thinking_budget, body.chat_template_kwargs)


def may_leave_out_tools(body: ChatBody) -> bool:
    """Whether there are tools, none of which has to be called."""
    return bool(body.tools) and body.tool_choice in (None, "auto", "none")


def without_tools(body: ChatBody) -> ChatBody:
    """The chat as if there were none."""
    return msgspec.structs.replace(body, tools=None, tool_choice=None)


def completion_requests(body: CompletionBody) -> list[CompletionRequest]:
    """The bodies of submit for a completion, one a prompt.

    Raises:
        RequestError: It asks for something that this version cannot do.
    """
    check_stream_options(body)
    if body.max_tokens == 0 and not body.echo:
        raise RequestError("max_tokens: expected at least 1 without echo, got 0", param="max_tokens")
    common = common_terms(body)
    return [
        CompletionRequest(
            prompt=prompt,
            echo=bool(body.echo),
            max_tokens=body.max_tokens,
            default_max_tokens=DEFAULT_COMPLETION_TOKENS,
            top_logprobs=body.logprobs,
            # Clients send an empty one that mean none.
            suffix=body.suffix or None,
            **common,
        )
        for prompt in _prompts(body)
    ]


def includes_usage(body: GenerateBody) -> bool:
    """Whether a stream ends with a chunk that has the usage."""
    return bool(body.stream_options and body.stream_options.include_usage)


def user_of(body: GenerateBody | VectorBody) -> str:
    """Who asks, of several people behind one client; "" if it does not say."""
    newer = body.safety_identifier if isinstance(body, ConversationBody) else None
    return newer or body.user or ""


def asked_terms(body: GenerateBody | VectorBody, terms: SubmitTerms) -> SubmitTerms:
    """*terms*, and before them what *body* says.

    Raises:
        RequestError: A duration that is none.
    """
    tier = body.service_tier if isinstance(body, ConversationBody) else None
    priority = body.priority or _PRIORITY_OF_TIER.get(tier or "")
    if priority is not None:
        terms = terms._replace(priority=PRIORITIES[priority])
    return terms._replace(keep_alive_s=keep_alive_s(body))


def keep_alive_s(body: GenerateBody | VectorBody) -> float | None:
    """`Envelope.keep_alive_s`.

    Raises:
        RequestError: It is no duration.
    """
    return keep_alive_of(body.keep_alive)


def _max_tokens(body: ChatBody) -> int | None:
    return one_of(body, "max_completion_tokens", "max_tokens")


def common_terms(body: GenerateBody) -> CommonTerms:
    """What all bodies that generate text have."""
    stop = body.stop or ()
    return {
        "sampling": _sampling(body),
        "stop": (stop,) if isinstance(stop, str) else tuple(stop),
        "ignore_eos": bool(body.ignore_eos),
        "grammar": grammar_of(body),
    }


def _sampling(body: GenerateBody) -> Sampling:
    given = {name: value for name in _SAME_NAME if (value := getattr(body, name)) is not None}
    return Sampling(
        top_k=None if body.top_k is None else max(body.top_k, 0),
        repetition_penalty=one_of(body, "repetition_penalty", "repeat_penalty"),
        **given,
    )


def one_of(body: GenerateBody, name: str, alias: str) -> int | None:
    """The value of two names for the same thing; the first is the name to prefer."""
    value, other = getattr(body, name), getattr(body, alias)
    if value is not None and other is not None and value != other:
        raise RequestError(f"{alias}: {other:g} contradicts {name}: {value:g}; send one of them", param=alias)
    result: int | None = other if value is None else value
    return result


# --- prompts ----------------------------------------------------------------------------------


def _prompts(body: CompletionBody) -> list[str | tuple[int, ...]]:
    prompt = body.prompt
    check_text(
        [prompt] if isinstance(prompt, str) else [one for one in prompt if isinstance(one, str)], "prompt"
    )
    if isinstance(prompt, str):
        # The cursor may stand at the beginning of a text.
        return [prompt if body.suffix else _not_empty(prompt, "prompt")]
    if all(isinstance(item, int) for item in prompt):
        return [_tokens(prompt)]
    if len(prompt) > MAX_PROMPTS:
        raise RequestError(
            f"prompt: expected at most {MAX_PROMPTS} prompts, got {len(prompt)}", param="prompt"
        )
    if not (all(isinstance(item, str) for item in prompt) or all(isinstance(item, list) for item in prompt)):
        raise RequestError(
            "prompt: expected a string, a list of token ids, or a list of one of these, got a mixed list",
            param="prompt",
        )
    return [
        _not_empty(item if isinstance(item, str) else tuple(item), f"prompt[{i}]")
        for i, item in enumerate(prompt)
        if not isinstance(item, int)
    ]


def _tokens(items: list[int | str | list[int]]) -> tuple[int, ...]:
    tokens = tuple(item for item in items if isinstance(item, int))
    for i, token in enumerate(tokens):
        if not 0 <= token <= MAX_INT32:
            raise RequestError(
                f"prompt[{i}]: expected a token id, an integer in [0, {MAX_INT32}]", param=f"prompt[{i}]"
            )
    return tokens


def _not_empty(prompt: str | tuple[int, ...], path: str) -> str | tuple[int, ...]:
    if not prompt:
        raise RequestError(f"{path}: expected at least one token, got an empty prompt", param=path)
    return prompt


# --- what this version cannot do --------------------------------------------------------------


def check_stream_options(body: GenerateBody) -> None:
    if body.stream_options is None:
        return
    if not body.stream:
        raise RequestError("stream_options: only with stream true", param="stream_options")
    if body.stream_options.include_obfuscation:
        param = "stream_options.include_obfuscation"
        raise RequestError(f"{param}: expected false; chunks are as long as what they say", param=param)


def _check_supported(body: ChatBody) -> None:
    for name, reason in _REFUSED.items():
        if has_value(getattr(body, name)):
            raise RequestError(f"{name}: not supported: {reason}; leave it out", param=name)
    if body.modalities and body.modalities != ["text"]:
        raise RequestError('modalities: expected ["text"]; only text is produced', param="modalities")
    if body.store:
        raise RequestError("store: expected false; answers are not kept here", param="store")
    if body.verbosity not in (None, "medium"):
        raise RequestError(
            'verbosity: expected "medium"; models here know no other: say in a message how long the answer '
            "should be, or bound it with max_completion_tokens",
            param="verbosity",
        )
