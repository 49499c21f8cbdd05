"""What loading a model that writes has in common for all kinds: tokens, template, what ends an answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn, Protocol

import mlx.core as mx
import mlx_lm.generate
import msgspec
import transformers.dynamic_module_utils

from transports.errors import ModelUnavailable, RequestError
from transports.messages import ChatMessage
from workers.engine import EngineInfo
from workers.generation.answers import AnswerFormat
from workers.generation.detokenize import Vocabulary, decoder_of
from workers.generation.grammars import GrammarCompiler
from workers.generation.kv_memory import KvSizes
from workers.generation.loaded import LoadedModel
from workers.generation.model_files import Config, context_length, stated_vocab_size
from workers.generation.params import read_defaults
from workers.generation.prompts import Prompts
from workers.generation.requests import RequestReader
from workers.generation.templates import bound_templates
from workers.generation.thoughts import NO_THINKING, ThinkingTokens
from workers.generation.tool_formats import call_format
from workers.generation.weights import device_notes

# Any: mlx and mlx-lm publish no types that mypy sees outside a worker's environment.
Model = Any
Tokenizer = Any
KvCache = Any


class LoadingSettings(Protocol):
    """What the settings of every kind have."""

    @property
    def num_slots(self) -> int: ...
    @property
    def max_context_tokens(self) -> int: ...


def keep_off(*, wired_limit: bool) -> None:
    """What libraries must not do: fetch, run a folder's code, let templates grow, wire memory unasked."""
    # Everything is in the folder; a library that thinks otherwise must fail and not fetch.
    os.environ["HF_HUB_OFFLINE"] = "1"
    bound_templates()
    # mlx-vlm says trust_remote_code=True in places; this is where all such code would be run.
    transformers.dynamic_module_utils.get_class_in_module = _refuse_code
    if not wired_limit:
        mlx_lm.generate.maybe_set_recommended_wired_limit = lambda: None


def _refuse_code(*_args: object, **_fields: object) -> NoReturn:
    raise ModelUnavailable("the model's folder asks to run code of its own; mlxd never does")


def measure(
    model: Model, config: Config, settings: LoadingSettings, cache: list[KvCache] | None = None
) -> tuple[int, int]:
    """Size of the vocabulary and longest sequence; also shows that the model computes.

    Args:
        model: Gives logits for tokens and caches.
        cache: Holds one token afterwards.
    """
    logits = model(mx.array([[0]]), cache=cache)
    mx.eval(logits)
    longest = context_length(config)
    if settings.max_context_tokens:
        longest = min(longest, settings.max_context_tokens)
    return logits.shape[-1], longest


def begin_grammars(tokenizer: Tokenizer, config: Config) -> GrammarCompiler:
    """For `assemble`; to be called before the weights are read, beside which it works."""
    return GrammarCompiler(tokenizer, stated_vocab_size(config), frozenset(tokenizer.eos_token_ids))


def assemble(
    path: Path,
    model: Model,
    tokenizer: Tokenizer,
    grammars: GrammarCompiler,
    prompts: Prompts,
    settings: LoadingSettings,
    device: str,
    kv_sizes: KvSizes,
) -> LoadedModel:
    """Put together what an engine needs, and try the template once."""
    grammars.settle(prompts.vocab_size)
    _try_template(path, prompts, tokenizer)
    vocabulary = Vocabulary(tokenizer, decoder_of(path))
    eos = frozenset(tokenizer.eos_token_ids)
    reader = RequestReader(
        prompts=prompts,
        vocabulary=vocabulary,
        defaults=read_defaults(path),
        vocab_size=prompts.vocab_size,
        context_length=prompts.context_length,
        grammars=grammars,
        # Of a model whose tokenizer knows more tokens than it.
        eos_tokens=frozenset(token for token in eos if token < prompts.vocab_size),
        thinking=_thinking(tokenizer),
        form=_answer_format(tokenizer),
    )
    info = EngineInfo(
        num_slots=settings.num_slots,
        context_length=prompts.context_length,
        device=device,
        notes=_notes(tokenizer, device),
    )
    return LoadedModel(
        model=model,
        eos_tokens=eos,
        vocabulary=vocabulary,
        reader=reader,
        kv_sizes=kv_sizes,
        info=info,
    )


def _answer_format(tokenizer: Tokenizer) -> AnswerFormat:
    """The tags and the parser that mlx-lm found for the model."""
    calls = None
    if tokenizer.has_tool_calling:
        family = str(tokenizer.init_kwargs.get("tool_parser_type"))
        start, end = tokenizer.tool_call_start, tokenizer.tool_call_end
        calls = call_format(family, start, end, tokenizer.tool_parser)
    return AnswerFormat(tokenizer.think_start or "", tokenizer.think_end or "", calls)


def _try_template(path: Path, prompts: Prompts, tokenizer: Tokenizer) -> None:
    """A template that cannot render one plain message is the model's fault, not a request's."""
    if not tokenizer.has_chat_template:
        return
    try:
        prompts.chat([ChatMessage(role="user", content="Hello")])
    except RequestError as e:
        raise ModelUnavailable(f"{path}: the chat template does not work: {e.message}") from None


def _thinking(tokenizer: Tokenizer) -> ThinkingTokens:
    if not tokenizer.has_thinking:
        return NO_THINKING
    return ThinkingTokens(tuple(tokenizer.think_start_tokens), tuple(tokenizer.think_end_tokens))


def _notes(tokenizer: Tokenizer, device: str) -> tuple[str, ...]:
    no_template = () if tokenizer.has_chat_template else ("no chat template: completions only",)
    return (*device_notes(device), *no_template)


def eos_tokens(path: Path, config: Config) -> list[int] | None:
    """The ids that end an answer, from both places; the tokenizer's own is added by mlx-lm."""
    found: list[int] = []
    try:
        generation = msgspec.json.decode((path / "generation_config.json").read_bytes(), type=dict)
    except (OSError, msgspec.DecodeError):
        generation = {}
    for content in (config, generation):
        value = content.get("eos_token_id")
        found += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]
    return found or None
