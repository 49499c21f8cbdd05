"""Log probabilities in the two shapes that OpenAI has for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypedDict

from plugins.submission import Update
from transports.messages import Delta, TokenLogprob

# OpenAI's value for "as good as never"; JSON has no infinity.
LOWEST = -9999.0
# Of one in an answer, about.
LOGPROB_BYTES = 54


class ChatToken(TypedDict, total=False):
    """A token of a chat's logprobs; alternatives have no top_logprobs."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[ChatToken]


class ChatLogprobs(TypedDict):
    """The logprobs of a chat choice."""

    content: list[ChatToken]
    refusal: None


class CompletionLogprobs(TypedDict):
    """The logprobs of a completion choice: parallel lists."""

    tokens: list[str]
    # None: the first token of an echoed prompt, which nothing predicted.
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


def num_bytes(updates: Iterable[Update]) -> int:
    """About as many as the logprobs in *updates* have in an answer: with all alternatives it is megabytes."""
    tokens = (token for update in updates if isinstance(update, Delta) for token in update.logprobs)
    return LOGPROB_BYTES * sum(1 + len(token.top) for token in tokens)


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> ChatLogprobs:
    """For /v1/chat/completions."""
    content = [
        ChatToken(**_chat_token(token), top_logprobs=[_chat_token(other) for other in token.top])
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> CompletionLogprobs:
    """For /v1/completions.

    Args:
        tokens: The tokens of this piece.
        offset: Characters of the answer before this piece.
    """
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    return {
        "tokens": [_name(token) for token in tokens],
        "token_logprobs": [None if math.isnan(token.logprob) else _finite(token.logprob) for token in tokens],
        "top_logprobs": [None if math.isnan(token.logprob) else _top(token) for token in tokens],
        "text_offset": offsets,
    }


def _chat_token(token: TokenLogprob) -> ChatToken:
    data = token.token_bytes or token.token.encode()
    return {"token": token.token, "logprob": _finite(token.logprob), "bytes": list(data)}


def _top(token: TokenLogprob) -> dict[str, float]:
    # OpenAI: the sampled token is always among them, so there may be one more than asked for.
    top = {_name(other): _finite(other.logprob) for other in token.top}
    return top | {_name(token): _finite(token.logprob)}


def _name(token: TokenLogprob) -> str:
    """A token as text; one that is part of a character as OpenAI has it, or many would have one name."""
    if "\ufffd" not in token.token:
        return token.token
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.token_bytes)


def _finite(logprob: float) -> float:
    return max(logprob, LOWEST) if math.isfinite(logprob) else LOWEST
