"""An engine without a model: says the last message back, a word a step. For tests and plugin authors.

What it says in a chat is read like a model's answer: `<think>` and `</think>` are around thoughts, and where
there are tools, `<tool_call>{"name": …, "arguments": …}</tool_call>` calls one.

A picture becomes a word: its size and the colors of its first and last pixel, "640x480:ff0000-0000ff".
Asked to fill in the middle it says all that it got: prompt, "<middle>", suffix.

A model folder of this kind holds only a config.json: {"model_type": "echo", ...the fields of `EchoConfig`}.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from transports.envelope import Message
from transports.errors import (
    ContextLengthExceeded,
    ModelUnavailable,
    OutOfMemory,
    TaskNotSupported,
    WorkerError,
)
from transports.frames import Buffer
from transports.messages import (
    ChatRequest,
    CompletionRequest,
    Delta,
    Done,
    FinishReason,
    Item,
    Prefill,
    Progress,
    TextPart,
    TokenLogprob,
    Usage,
)
from transports.reports import Modality
from transports.vectors import EmbeddingsRequest, RerankRequest
from workers.echo_faults import strike
from workers.echo_vectors import MAX_VECTOR_SIZE, VectorRow, vector_row
from workers.engine import EngineInfo, Failure, OnProgress, Output
from workers.generation.answers import AnswerFormat, AnswerReader
from workers.generation.tool_calls import tools_of
from workers.generation.tool_formats import HERMES

_PAGE_BYTES = 4096
_BLOCK_BYTES = 16 * 1024 * 1024
_WORD = re.compile(r"\s*\S+")
_FORMAT = AnswerFormat("<think>", "</think>", HERMES)


class EchoConfig(msgspec.Struct, frozen=True, kw_only=True):
    """config.json of an echo model."""

    model_type: str
    num_slots: int = 8
    # In words.
    context_length: int = 100_000
    # A step takes so long, like a decode step of a real model.
    step_s: float = 0.0
    load_s: float = 0.0
    # So much is really taken; the kernel's catalog counts it as the weights.
    memory_bytes: int = 0
    # Obey the words below and in echo_faults.py, when they are the whole message.
    faults: bool = False
    # Whether it can fill in the middle.
    fim: bool = True
    # Read by the kernel's catalog: frontends send pictures to models that take "image".
    modalities: tuple[Modality, ...] = ("text",)
    # Numbers of an embedding.
    vector_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_VECTOR_SIZE)] = 8
    # What a last message has in it -> the answer to it, which is said instead.
    script: dict[str, str] = {}
    # Take a grammar too, where the script says what keeps to it; nothing here looks.
    grammars: bool = False


@dataclass(slots=True)
class _Row:
    words: list[str]
    num_prompt: int
    max_tokens: int
    wants_logprobs: bool
    fault: str
    # Of a chat.
    reader: AnswerReader | None
    num_said: int = 0


class EchoEngine:
    """Splits text into words with their white space; a word is a token."""

    tasks: Mapping[str, type[Message]] = {
        "chat": ChatRequest,
        "completion": CompletionRequest,
        "embeddings": EmbeddingsRequest,
        "rerank": RerankRequest,
    }

    def __init__(self, config: EchoConfig) -> None:
        self.info = EngineInfo(
            num_slots=config.num_slots, context_length=config.context_length, device="none"
        )
        self._config = config
        self._weights = _weights(config.memory_bytes)
        self._rows: dict[str, _Row] = {}
        self._vector_rows: dict[str, VectorRow] = {}
        self._progress = 0

    def add(self, request_id: str, task: str, body: Message, buffers: Sequence[Buffer]) -> None:
        """See `Engine.add`."""
        if isinstance(body, EmbeddingsRequest | RerankRequest):
            row = vector_row(request_id, body, self._config.vector_size, self._config.context_length)
            self._vector_rows[request_id] = row
            return
        reader: AnswerReader | None = None
        if isinstance(body, ChatRequest):
            prompt = _words_of(body, buffers)
            reader = AnswerReader(request_id, _FORMAT, tools_of(body))
        elif isinstance(body, CompletionRequest):
            prompt = body.prompt if isinstance(body.prompt, str) else " ".join(map(str, body.prompt))
            if body.suffix is not None:
                if not self._config.fim:
                    raise TaskNotSupported("suffix: this model cannot fill in the middle", param="suffix")
                prompt = f"{prompt}<middle>{body.suffix}"
        else:
            raise WorkerError(f"{task}: echo cannot do this")
        if body.grammar is not None and not self._config.grammars:
            param = body.grammar.param
            raise TaskNotSupported(f"{param}: this model cannot keep to a grammar", param=param)
        num_prompt = len(_words(prompt))
        if num_prompt > self._config.context_length:
            raise ContextLengthExceeded(
                f"messages: expected at most {self._config.context_length} words, got {num_prompt}",
                param="messages",
            )
        scripted = (answer for part, answer in self._config.script.items() if part in prompt)
        self._rows[request_id] = _Row(
            words=_words(next(scripted, prompt)),
            num_prompt=num_prompt,
            max_tokens=_max_tokens(body, self._config.context_length),
            wants_logprobs=body.top_logprobs is not None,
            fault=prompt if self._config.faults else "",
            reader=reader,
        )

    def cancel(self, request_id: str) -> list[Output]:
        """See `Engine.cancel`."""
        if waiting := self._vector_rows.pop(request_id, None):
            return [Done(id=request_id, finish_reason="cancelled", usage=waiting.usage)]
        row = self._rows.pop(request_id, None)
        return [] if row is None else [*self._ended(request_id, row, "cancelled")]

    def step(self) -> list[Output]:
        """One word of each chat and completion, one input of each embeddings and rerank."""
        if self._config.step_s:
            time.sleep(self._config.step_s)
        outputs: list[Output] = []
        for request_id, row in list(self._rows.items()):
            outputs += self._advance(request_id, row)
        for waiting in list(self._vector_rows.values()):
            if numbers := waiting.advance():
                del self._vector_rows[numbers.id]
                outputs.append(numbers)
        self._progress += 1
        return outputs

    def has_work(self) -> bool:
        """See `Engine.has_work`."""
        return bool(self._rows or self._vector_rows)

    def progress(self) -> int:
        """See `Engine.progress`."""
        return self._progress

    def close(self) -> None:
        """Nothing to free."""

    def _advance(self, request_id: str, row: _Row) -> list[Output]:
        strike(row.fault)
        match row.fault:
            case "FAIL":
                del self._rows[request_id]
                return [Failure(id=request_id, error=WorkerError("failed as told"))]
            case "OUT_OF_MEMORY":
                del self._rows[request_id]
                return [Failure(id=request_id, error=OutOfMemory("out of memory as told"))]
            case "PREFILL" if row.num_said == 0:
                row.fault = ""
                return [Prefill(id=request_id, num_done=1, num_total=2)]
            case "ENDLESS":
                row.words.append(" ENDLESS")
        if row.num_said < min(len(row.words), row.max_tokens):
            word = row.words[row.num_said]
            row.num_said += 1
            logprobs = (TokenLogprob(token=word, logprob=0.0),) if row.wants_logprobs else ()
            outputs: list[Output] = (
                [*row.reader.feed(word, logprobs)]
                if row.reader
                else [Delta(id=request_id, text=word, logprobs=logprobs)]
            )
        else:
            outputs = []
        is_whole = row.num_said >= len(row.words) or (row.reader is not None and row.reader.is_complete)
        if is_whole or row.num_said >= row.max_tokens:
            outputs += self._ended(request_id, row, "stop" if is_whole else "length")
            del self._rows[request_id]
        return outputs

    @staticmethod
    def _ended(request_id: str, row: _Row, reason: FinishReason) -> list[Item]:
        last = row.reader.finish(is_whole=reason == "stop") if row.reader else []
        usage = Usage(
            prompt_tokens=row.num_prompt,
            completion_tokens=row.num_said,
            reasoning_tokens=row.reader.num_thought if row.reader else 0,
        )
        reason = row.reader.reason(reason) if row.reader else reason
        return [*last, Done(id=request_id, finish_reason=reason, usage=usage)]


def _max_tokens(body: ChatRequest | CompletionRequest, context_length: int) -> int:
    return body.default_max_tokens or context_length if body.max_tokens is None else body.max_tokens


def _weights(memory_bytes: int) -> list[bytes]:
    """So many bytes, really taken; in blocks, as making one keeps the thread waiting that answers pings."""
    # Random, as weights are: macOS compresses what is not.
    page = os.urandom(_PAGE_BYTES)
    sizes = [_BLOCK_BYTES] * (memory_bytes // _BLOCK_BYTES) + [memory_bytes % _BLOCK_BYTES]
    return [page * (size // _PAGE_BYTES) for size in sizes]


def _words(text: str) -> list[str]:
    # Space without a word behind it would be looked through anew from each of its characters.
    return _WORD.findall(text.rstrip())


def _words_of(body: ChatRequest, pixels: Sequence[Buffer]) -> str:
    """The last message, its pictures as words."""
    message = body.messages[-1]
    if isinstance(message.content, str):
        return message.content
    words = []
    for part in message.content:
        if isinstance(part, TextPart):
            words.append(part.text)
            continue
        image, its_pixels = body.images[part.image], pixels[part.image]
        words.append(f"{image.width}x{image.height}:{its_pixels[:3].hex()}-{its_pixels[-3:].hex()}")
    return " ".join(words)


def load(path: Path, settings: Mapping[str, object], on_progress: OnProgress) -> EchoEngine:
    """Read config.json; there is nothing else to load.

    Raises:
        ModelUnavailable: The file is missing or wrong.
    """
    try:
        config = msgspec.json.decode((path / "config.json").read_bytes(), type=EchoConfig)
    except (OSError, msgspec.DecodeError) as e:
        raise ModelUnavailable(f"{path / 'config.json'}: {e}") from None
    on_progress(Progress(phase="load", fraction=0.0))
    time.sleep(config.load_s)
    return EchoEngine(config)
