"""What is said of a prompt or an answer that does not fit in the context.

Programs know this error by its words: LiteLLM, and so aider, by "this model's maximum context length is",
LangChain and coding agents by "prompt is too long".
"""

from __future__ import annotations

from transports.errors import ContextLengthExceeded


def prompt_too_long(param: str, context_length: int, got: str) -> ContextLengthExceeded:
    """A prompt that leaves no room for a token of the answer.

    Args:
        got: How many tokens it has, as far as they were counted.
    """
    return ContextLengthExceeded(
        f"{param}: the prompt is too long: expected at most {context_length - 1} tokens, as this model's "
        f"maximum context length is {context_length}, got {got}",
        param=param,
    )


def answer_too_long(context_length: int, num_prompt: int, counted: str, got: int) -> ContextLengthExceeded:
    """A `max_tokens` for which the prompt leaves no room.

    Args:
        counted: What *num_prompt* is of.
    """
    return ContextLengthExceeded(
        f"max_tokens: expected at most {context_length - num_prompt}, as this model's maximum context length "
        f"is {context_length}, and there are {num_prompt} tokens of {counted}, got {got}",
        param="max_tokens",
    )
