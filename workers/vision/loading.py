"""A model folder to a vision engine: vetted, loaded, made fit for the device, shown one picture."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_vlm.utils
from mlx_lm.tokenizer_utils import TokenizerWrapper, _infer_tool_parser
from mlx_vlm.utils import load_image_processor, load_model, load_processor
from PIL import Image

from transports.errors import ModelUnavailable
from transports.messages import Progress
from transports.settings import VisionSettings
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
from workers.generation.token_borders import TokenBorders
from workers.generation.warm_up import warm_up
from workers.generation.weights import check_settings, choose_device, explained, materialise, reason
from workers.vision.engine import VisionEngine
from workers.vision.model import VisionModel
from workers.vision.pictures import Picture
from workers.vision.processor import PictureProcessor
from workers.vision.prompts import VisionPrompts
from workers.vision.requests import VisionReader

# Any: mlx-vlm and transformers publish no types that mypy sees outside a worker's environment.
Model = Any
Processor = Any
Tokenizer = Any
KvCache = Any

# What stands for a picture in the prompts of models whose processor does not say.
_COMMON_PLACEHOLDER = "<image>"
# Of the picture that a model is shown once it is loaded.
_TRIAL_SIDE = 64
_TORCH_WORDS = ("torch", "Torch")


def load(path: Path, settings: Mapping[str, object], on_progress: OnProgress) -> VisionEngine:
    """Load the model in *path*. Must run in the thread that will run the engine.

    Args:
        settings: The fields of `VisionSettings`.

    Raises:
        ModelUnavailable: The folder or the model in it cannot be used; the message says why.
        ConfigError: Bad settings, or a device that is not there.
    """
    checked = check_settings("vision", settings, VisionSettings)
    config = vet(path)
    device = choose_device("vision", checked.device)
    close_doors(checked)
    on_progress(Progress(phase="load", fraction=0.0, detail="reading"))
    max_pixels = Image.MAX_IMAGE_PIXELS
    try:
        with explained(path):
            model = load_model(path, lazy=True)
            processor = _processor(path)
            tokenizer = _tokenizer(path, config, processor)
            grammars = begin_grammars(tokenizer, config)
            model = materialise(model, device, on_progress)
            seeing = VisionModel(model)
            placeholders = _placeholders(processor, tokenizer)
            prompts = VisionPrompts(
                tokenizer, *measure(seeing, config, checked), placeholders, TokenBorders.of(tokenizer)
            )
            pictures = PictureProcessor(
                processor, prompts.placeholder, _image_token(model), tokenizer.bos_token_id
            )
            kv_sizes = KvSizes.of(_try_picture(path, seeing, pictures))
            loaded = assemble(path, seeing, tokenizer, grammars, prompts, checked, device, kv_sizes)
            warm_up(
                lambda tokens: seeing(tokens, seeing.make_cache()),
                device,
                num_rows=checked.num_slots,
                num_tokens=checked.prefill_step_tokens,
                on_progress=on_progress,
            )
    finally:
        # One model's module lifts Pillow's limit for the whole process.
        Image.MAX_IMAGE_PIXELS = max_pixels
    return VisionEngine(loaded, VisionReader(loaded.reader, prompts), pictures, checked)


def close_doors(settings: VisionSettings) -> None:
    """What libraries must not do, and: write into the folder."""
    keep_off(wired_limit=settings.wired_limit)
    # Of a type that mlx does not read mlx-vlm rewrites the header in the file, for the time of loading.
    mlx_vlm.utils.SAFETENSORS_DTYPE_FALLBACKS = {}


def _processor(path: Path) -> Processor:
    """The folder's processor, as mlx-vlm makes it."""
    try:
        processor = load_processor(path, add_detokenizer=False, trust_remote_code=False)
        image_processor = load_image_processor(path)
    except Exception as e:
        said = reason(e)
        if any(word in said for word in _TORCH_WORDS):
            raise ModelUnavailable(
                f"{path}: the model's processor needs torch, which vision workers do not have; name a lock "
                "that has it, by `requirements` in [models.options] (docs/operations.md), or take a model "
                f"whose processor works without ({said})"
            ) from e
        raise ModelUnavailable(f"{path}: the model's processor cannot be used: {said}") from e
    if image_processor is not None:
        processor.image_processor = image_processor
    return processor


def _tokenizer(path: Path, config: Config, processor: Processor) -> Tokenizer:
    """The processor's tokenizer, with the processor's chat template where it has none."""
    tokenizer: Tokenizer = getattr(processor, "tokenizer", processor)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = getattr(processor, "chat_template", None)
    # Some processors know of further tokens that end a turn.
    ends = [*(eos_tokens(path, config) or ()), *getattr(processor, "additional_eos_token_ids", ())]
    return TokenizerWrapper(tokenizer, eos_token_ids=ends, **_tool_calls(tokenizer))


def _tool_calls(tokenizer: Tokenizer) -> dict[str, object]:
    """How the model writes calls of tools, found as mlx-lm's own loading does, which knows no processor."""
    family = tokenizer.init_kwargs.get("tool_parser_type") or _infer_tool_parser(tokenizer)
    if family is None:
        return {}
    tokenizer.init_kwargs["tool_parser_type"] = family
    parser = importlib.import_module(f"mlx_lm.tool_parsers.{family}")
    return {
        "tool_call_start": parser.tool_call_start,
        "tool_call_end": parser.tool_call_end,
        "tool_parser": parser.parse_tool_call,
    }


def _placeholders(processor: Processor, tokenizer: Tokenizer) -> list[str]:
    """What may stand for a picture in a rendered prompt, likeliest first."""
    # Gemma's processor puts the image tokens in the place of the one that begins a picture.
    named = [getattr(processor, "boi_token", None), getattr(processor, "image_token", None)]
    named += [getattr(tokenizer, "image_token", None), _COMMON_PLACEHOLDER]
    return list(dict.fromkeys(str(one) for one in named if one))


def _image_token(model: Model) -> int | None:
    config = model.config
    return getattr(config, "image_token_index", None) or getattr(config, "image_token_id", None)


def _try_picture(path: Path, model: VisionModel, processor: PictureProcessor) -> list[KvCache]:
    """Shows, before the first request does, that a picture can be seen, read and spoken about.

    Returns:
        Keys and values of what was read.
    """
    grey = bytes([128]) * (_TRIAL_SIDE * _TRIAL_SIDE * 3)
    try:
        tokens, inputs = processor.prepare(Picture(bytes(32), _TRIAL_SIDE, _TRIAL_SIDE, grey))
        seen = model.see(tokens, inputs)
        cache, given, next_given = model.make_cache(), {}, {}
        if model.has_mrope:
            positions, lag = model.positions(seen.tokens, [seen])
            place = len(seen.tokens)
            given = {"position_ids": positions}
            next_given = {"position_ids": model.positions_at(positions, lag, place, place + 1)}
        model.read(seen.tokens, cache, [seen.features], **given)
        mx.eval(model(mx.array([[0]]), cache, **next_given))
    except Exception as e:
        raise ModelUnavailable(f"{path}: the model cannot be shown a picture: {reason(e)}") from e
    return cache
