"""A model folder to an engine: vetted, loaded, made fit for the device, tried once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model, load_tokenizer

from transports.errors import ModelUnavailable
from transports.messages import Progress
from transports.settings import TextSettings
from workers.engine import OnProgress
from workers.generation.kv_memory import KvSizes
from workers.generation.loading import (
    assemble,
    begin_grammars,
    eos_tokens,
    keep_off,
    measure,
)
from workers.generation.model_files import Config, vet
from workers.generation.prompts import Prompts
from workers.generation.token_borders import TokenBorders
from workers.generation.warm_up import warm_up
from workers.generation.weights import check_settings, choose_device, explained, materialise, reason
from workers.text.engine import TextEngine


def load(path: Path, settings: Mapping[str, object], on_progress: OnProgress) -> TextEngine:
    """Load the model in *path*. Must run in the thread that will run the engine.

    Args:
        settings: The fields of `TextSettings`.

    Raises:
        ModelUnavailable: The folder or the model in it cannot be used; the message says why.
        ConfigError: Bad settings, or a device that is not there.
    """
    checked = check_settings("text", settings, TextSettings)
    config = vet(path)
    device = choose_device("text", checked.device)
    keep_off(wired_limit=checked.wired_limit)
    on_progress(Progress(phase="load", fraction=0.0, detail="reading"))
    with explained(path):
        model, _ = load_model(path, lazy=True)
        tokenizer = _tokenizer(path, config)
        grammars = begin_grammars(tokenizer, config)
        model = materialise(model, device, on_progress)
        cache = make_prompt_cache(model)
        prompts = Prompts(tokenizer, *measure(model, config, checked, cache), TokenBorders.of(tokenizer))
        kv_sizes = KvSizes.of(cache)
        loaded = assemble(path, model, tokenizer, grammars, prompts, checked, device, kv_sizes)
        warm_up(
            lambda tokens: model(tokens, cache=make_prompt_cache(model)),
            device,
            num_rows=checked.num_slots,
            num_tokens=checked.prefill_step_tokens,
            on_progress=on_progress,
        )
    return TextEngine(loaded, checked)


def _tokenizer(path: Path, config: Config) -> Any:  # mlx-lm has no types.
    """The folder's tokenizer, as mlx-lm wraps it."""
    try:
        # Said aloud, or transformers would ask for permission on stdin.
        return load_tokenizer(path, {"trust_remote_code": False}, eos_tokens(path, config))
    except Exception as e:
        raise ModelUnavailable(f"{path / 'tokenizer.json'}: cannot be used: {reason(e)}") from e
