"""How a model's hidden states become a vector, as the files of sentence-transformers in its folder say.

Reads JSON alone, and imports no mlx.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from transports.errors import ModelUnavailable

Pooling: TypeAlias = Literal["cls", "mean", "lasttoken", "max", "mean_sqrt_len_tokens"]
# Keys of 1_Pooling/config.json that are true or false.
_POOLING_KEYS: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
MAX_JSON_BYTES = 1024 * 1024

# Any: what JSON gives before it is looked at.
Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to the hidden states of a text."""

    pooling: Pooling
    # To length 1.
    normalizes: bool
    # In front of every text.
    prompt: str = ""
    # The longest sequence that the model was trained for; 0 where only config.json says it.
    max_tokens: int = 0
    # Sizes that a vector may be cut to (Matryoshka): none, these, or any.
    dimensions: tuple[int, ...] | Literal["any"] = ()
    # What is guessed, for a person to see.
    note: str = ""

    def allows(self, size: int) -> bool:
        """Whether the model was trained for vectors of so many numbers."""
        return self.dimensions == "any" or size in self.dimensions


def read_recipe(folder: Path, config: Mapping[str, Any], fallback: Pooling) -> Recipe:
    """The recipe of the model in *folder*.

    Args:
        config: Its config.json.
        fallback: The pooling of a model without modules.json, which most models of its type have.

    Raises:
        ModelUnavailable: A file cannot be read, or asks for what is not done here.
    """
    dimensions = _dimensions(config)
    if not (folder / "modules.json").is_file():
        note = f"no modules.json: {fallback} pooling and normalised vectors are assumed"
        return Recipe(pooling=fallback, normalizes=True, dimensions=dimensions, note=note)
    pooling: Pooling | None = None
    normalizes = False
    for module in _modules(folder):
        name, place = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        match name:
            case "Transformer":
                continue
            case "Pooling":
                pooling = _pooling(folder, place)
            case "Normalize":
                normalizes = True
            case _:
                raise ModelUnavailable(f"{folder / 'modules.json'}: {name[:80]!r} is not supported")
    if pooling is None:
        raise ModelUnavailable(f"{folder / 'modules.json'}: expected a Pooling module")
    return Recipe(
        pooling=pooling,
        normalizes=normalizes,
        prompt=_prompt(folder),
        max_tokens=_max_tokens(folder),
        dimensions=dimensions,
    )


def _modules(folder: Path) -> list[Json]:
    modules = _read(folder / "modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelUnavailable(f"{folder / 'modules.json'}: expected a list of modules")
    return modules


def _pooling(folder: Path, place: str) -> Pooling:
    if Path(place).name != place or place in ("", "..", "."):
        raise ModelUnavailable(f"{folder / 'modules.json'}: {place[:80]!r}: expected a folder beside it")
    path = folder / place / "config.json"
    settings = _object(path)
    found = [name for key, name in _POOLING_KEYS.items() if settings.get(key)]
    # Since its version 5.
    if isinstance(mode := settings.get("pooling_mode"), str):
        found = [name for name in get_args(Pooling) if name == mode]
    if len(found) != 1:
        raise ModelUnavailable(f"{path}: expected one pooling of {', '.join(get_args(Pooling))}")
    if settings.get("include_prompt") is False and _prompt(folder):
        raise ModelUnavailable(f"{path}: include_prompt false is not supported")
    return found[0]


def _prompt(folder: Path) -> str:
    settings = _object(folder / "config_sentence_transformers.json", is_needed=False)
    prompts, name = settings.get("prompts"), settings.get("default_prompt_name")
    return str(prompts.get(name) or "") if name and isinstance(prompts, dict) else ""


def _max_tokens(folder: Path) -> int:
    value = _object(folder / "sentence_bert_config.json", is_needed=False).get("max_seq_length")
    return value if isinstance(value, int) and value > 0 else 0


def _dimensions(config: Mapping[str, Any]) -> tuple[int, ...] | Literal["any"]:
    # As other servers read it: a list of sizes, or a plain yes.
    sizes = config.get("matryoshka_dimensions")
    if isinstance(sizes, list):
        return tuple(size for size in sizes if isinstance(size, int) and size > 0)
    return "any" if config.get("is_matryoshka") is True else ()


def _object(path: Path, *, is_needed: bool = True) -> Json:
    if not is_needed and not path.is_file():
        return {}
    content = _read(path)
    if not isinstance(content, dict):
        raise ModelUnavailable(f"{path}: expected a JSON object")
    return content


# Any: what JSON gives before it is looked at.
def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
        if len(text) > MAX_JSON_BYTES:
            raise ModelUnavailable(f"{path}: expected at most {MAX_JSON_BYTES} bytes")
        return json.loads(text)
    except OSError as e:
        raise ModelUnavailable(f"{path}: {e.strerror}") from None
    except (ValueError, RecursionError) as e:
        raise ModelUnavailable(f"{path}: corrupt: {e}") from None
