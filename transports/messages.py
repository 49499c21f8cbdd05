"""The protocol: every message between frontends, kernel and workers, as typed structs.

Frame 0 of a message is an envelope (envelope.py), frame 1 the body named by `Envelope.type`, frames 2
and later are buffers. The bodies of admin and reply are in reports.py, what concerns tools is in tools.py,
and the loading of a model in loading.py. docs/protocol.md is the same for people who write a peer in
another language. Fields are added with a default; a field is never changed or used again for something else.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from transports.envelope import Message, RequestId
from transports.tokens import Tokens
from transports.tools import (
    MAX_TOOL_CALLS,
    MAX_TOOLS,
    CallId,
    Tool,
    ToolCall,
    ToolCallBegin,
    ToolCallDelta,
    ToolCallEnd,
    ToolChoice,
)
from transports.vectors import Vectors

# Of one request; `media.max_images` is the setting below it.
MAX_IMAGES = 256
# OpenAI takes schemas of 120,000 characters.
MAX_GRAMMAR_CHARS = 131_072
# Of one ping: more would only say the same sooner.
MAX_IDS_ASKED = 64
# Beyond every context, and whatever a library counts with.
MAX_TOKENS = 2**31 - 1
# Of a decoded picture, pixels.
MAX_IMAGE_SIDE = 16_384

Role = Literal["frontend", "worker"]
Task = Literal["chat", "completion", "embeddings", "rerank"]
FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]
# What a waiting request waits for; `Progress.phase`.
Phase = Literal["queued", "environment", "download", "convert", "start", "load", "prefill"]

# --- life of a peer ---------------------------------------------------------------------------


class Hello(Message, frozen=True, kw_only=True):
    """Peer -> kernel, once after connecting. Answered by welcome, or by failed and silence.

    A second hello from the same peer means that its first life ended.
    """

    role: Role
    # "http", "cli", "text": the kind of frontend or worker.
    kind: str
    # The name of the process as the supervisor started it; free for peers that it did not start.
    name: str
    # The one-time token of a supervised process, or the token of the connection file.
    token: str
    pid: int
    mlxd_version: str
    # Where a frontend listens; it takes its port before it says hello.
    address: str = ""


class Welcome(Message, frozen=True, kw_only=True):
    """Kernel -> peer, the answer to hello. The peer may speak from here on."""

    kernel_version: str
    # The kernel pings this often; without a sign of life for `dead_after_s` the other side is dead.
    heartbeat_s: float
    dead_after_s: float
    max_frame_bytes: int
    max_frames: int
    # A folder that frontends and workers of this machine share; "" for a peer elsewhere.
    shared_dir: str = ""


class Bye(Message, frozen=True, kw_only=True):
    """Peer -> kernel: leaving now. Its requests are cancelled. No answer."""


class Drain(Message, frozen=True, kw_only=True):
    """Kernel -> frontend: take no new work, finish what runs, then say bye."""


class Ping(Message, frozen=True, kw_only=True):
    """Kernel -> peer, every `heartbeat_s`. Followed by pong."""

    # To a worker: requests that it should have, the oldest ones.
    running: Annotated[tuple[RequestId, ...], Meta(max_length=MAX_IDS_ASKED)] = ()


class Pong(Message, frozen=True, kw_only=True):
    """Peer -> kernel, the answer to ping, also while a worker's engine computes."""

    # Grows with each unit of work (token, prefill chunk, loaded file); a worker that is busy
    # while this stands still is hung.
    progress: int = 0
    # Requests inside the engine.
    num_active: int = 0
    # Those of them that have no token yet.
    num_prefilling: int = 0
    # Those of `Ping.running` that the worker does not have: ended, or lost.
    unknown: Annotated[tuple[RequestId, ...], Meta(max_length=MAX_IDS_ASKED)] = ()


# --- a request --------------------------------------------------------------------------------


Temperature: TypeAlias = Annotated[float, Meta(ge=0, le=2)]
TopP: TypeAlias = Annotated[float, Meta(gt=0, le=1)]
TopK: TypeAlias = Annotated[int, Meta(ge=0)]
MinP: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
RepetitionPenalty: TypeAlias = Annotated[float, Meta(gt=0, le=2)]
MaxTokens: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
Bias: TypeAlias = Annotated[dict[int, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)]


class Sampling(Message, frozen=True, kw_only=True):
    """How the next token is chosen. None takes `Defaults`, the model's own, then OpenAI's default.

    Order: penalties and bias on logits, then temperature, then top_k, top_p, min_p, xtc.
    """

    temperature: Temperature | None = None
    top_p: TopP | None = None
    # 0 is off. Larger than the vocabulary is the whole vocabulary.
    top_k: TopK | None = None
    min_p: MinP | None = None
    xtc_probability: Annotated[float, Meta(ge=0, le=1)] = 0.0
    # mlx-lm's sampler breaks above 0.5, where XTC cannot act anyway.
    xtc_threshold: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    # 1 is off; over prompt and answer.
    repetition_penalty: RepetitionPenalty | None = None
    # Over the answer only, as OpenAI has it.
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    # Token id -> added to its logit.
    logit_bias: Bias = {}  # noqa: RUF012  # msgspec copies it.
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None


class FramePixels(Message, tag="frame", frozen=True, kw_only=True):
    """Pixels that travel as a buffer of the submit."""

    # Counted from the first frame after the body. Images may share one.
    buffer: Annotated[int, Meta(ge=0, le=1024)]


class SharedPixels(Message, tag="shared", frozen=True, kw_only=True):
    """Pixels in a file of the frontend in `Welcome.shared_dir`; it removes it when the request has ended."""

    # Relative to `Welcome.shared_dir`: the frontend's own folder there, and a random name.
    name: Annotated[str, Meta(min_length=1, max_length=256)]


class Image(Message, frozen=True, kw_only=True):
    """A decoded picture: upright, without alpha, at the size that the model is to look at.

    Its pixels are uint8 of shape (height, width, 3), RGB, row by row without padding.
    """

    width: Annotated[int, Meta(ge=1, le=MAX_IMAGE_SIDE)]
    height: Annotated[int, Meta(ge=1, le=MAX_IMAGE_SIDE)]
    # SHA-256 over mode, size and pixels; computed by the frontend, never taken from a client.
    digest: Annotated[bytes, Meta(min_length=32, max_length=32)]
    pixels: FramePixels | SharedPixels


class TextPart(Message, tag="text", frozen=True, kw_only=True):
    """Text within a turn."""

    text: str


class ImagePart(Message, tag="image", frozen=True, kw_only=True):
    """A picture within a turn."""

    # Which of `ChatRequest.images`; one image may occur in several places.
    image: Annotated[int, Meta(ge=0)]


ContentPart: TypeAlias = TextPart | ImagePart


class ChatMessage(Message, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    # Parts only where there are images; in the order in which they were sent.
    content: str | Annotated[tuple[ContentPart, ...], Meta(max_length=1024)]
    name: str | None = None
    # Of the assistant: the tools that it called.
    tool_calls: Annotated[tuple[ToolCall, ...], Meta(max_length=MAX_TOOL_CALLS)] = ()
    # Of a tool: the call whose result this is.
    tool_call_id: CallId | None = None
    # Of the assistant: what it thought; most templates show it only within the turn that still calls tools.
    reasoning: str = ""

    @property
    def text(self) -> str:
        """What the turn says in words."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class Grammar(Message, frozen=True, kw_only=True):
    """What an answer keeps to, token by token; thoughts of a model that thinks come before it.

    It is whole unless `max_tokens` or a stop string ends it. finish_reason is "stop" when it is.
    """

    # A JSON Schema; a regular expression as Rust's crate regex has it, for the whole answer; or a grammar
    # in llguidance's variant of Lark.
    kind: Literal["json_schema", "regex", "lark"]
    text: Annotated[str, Meta(min_length=1, max_length=MAX_GRAMMAR_CHARS)]
    # What the frontend's API calls it, for errors.
    param: Annotated[str, Meta(max_length=256)] = "grammar"


class Generate(Message, frozen=True, kw_only=True):
    """What chat and completion have in common."""

    sampling: Sampling = Sampling()
    # None: `default_max_tokens`.
    max_tokens: MaxTokens | None = None
    # No more than the context has room for, instead of a refusal.
    cut_to_context: bool = False
    # Of the frontend's API, after `Defaults.max_tokens`, as far as the context has room; None: up to its end.
    default_max_tokens: MaxTokens | None = None
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=16)] = ()
    grammar: Grammar | None = None
    # None: no logprobs. n: that of the token, and the n most likely beside it.
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    # Go on past the end-of-text token.
    ignore_eos: bool = False
    # Only requests with the same number find what one of them left in the prompt cache.
    cache_salt: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    # Only count the tokens of the prompt: done follows at once, with "length" and its usage.
    count_only: bool = False
    # With `count_only`: say which they are, too.
    tell_tokens: bool = False


class Reasoning(Message, frozen=True, kw_only=True):
    """Whether, and how long, the model thinks before it answers; nothing to models that do not think."""

    # None leaves it to the chat template.
    enabled: bool | None = None
    # For templates that know it.
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    # After so many tokens of thought their end is forced; None: no limit.
    max_tokens: Annotated[int, Meta(ge=0, le=MAX_TOKENS)] | None = None


class ChatRequest(Generate, frozen=True, kw_only=True):
    """Frontend -> worker, the body of submit with task "chat". Followed by events or failed."""

    messages: Annotated[tuple[ChatMessage, ...], Meta(min_length=1, max_length=4096)]
    # Those that the messages' image parts point at.
    images: Annotated[tuple[Image, ...], Meta(max_length=MAX_IMAGES)] = ()
    tools: Annotated[tuple[Tool, ...], Meta(max_length=MAX_TOOLS)] = ()
    tool_choice: ToolChoice = ToolChoice()
    # False: the answer ends after its first call.
    parallel_tool_calls: bool = True
    # The last message, of the assistant, is the beginning of the answer: only what follows is told.
    continues_last: bool = False
    reasoning: Reasoning = Reasoning()


class CompletionRequest(Generate, frozen=True, kw_only=True):
    """Frontend -> worker, the body of submit with task "completion". Followed by events or failed."""

    # 0, with `echo`: nothing but the prompt.
    max_tokens: Annotated[int, Meta(ge=0, le=MAX_TOKENS)] | None = None
    # Text, or token ids of shape (num_tokens,).
    prompt: str | tuple[int, ...]
    # Put the tokens before a text that the tokenizer puts there.
    add_special: bool = True
    # Give the prompt back before the answer, with `top_logprobs` those of its tokens too; that of the first,
    # which nothing predicts, is NaN.
    echo: bool = False
    # What follows the answer, which is to fit between: fill in the middle. None: go on from the prompt.
    # "": fill in the middle at the end of a text. Both sides are cut at their far ends to fit in the context.
    suffix: str | None = None


class TokenLogprob(Message, frozen=True, kw_only=True):
    """A token and its natural-log probability before temperature and truncation."""

    token: str
    logprob: float
    token_bytes: bytes = b""
    # The most likely tokens at this place, best first; without alternatives of their own.
    top: tuple[TokenLogprob, ...] = ()


class Usage(Message, frozen=True, kw_only=True):
    """Token counts of one request."""

    prompt_tokens: int
    completion_tokens: int
    # Of the prompt tokens, those found in the prompt cache.
    cached_tokens: int = 0
    # Of the completion tokens, those of thought.
    reasoning_tokens: int = 0


class Timings(Message, frozen=True, kw_only=True):
    """Seconds on the worker's monotonic clock, from the arrival of submit in the worker."""

    ttft_s: float
    total_s: float


class Prefill(Message, tag="prefill", frozen=True, kw_only=True):
    """An item of events: how much of the prompt is processed; all of it once there is a token."""

    id: RequestId
    num_done: int
    num_total: int


class Delta(Message, tag="delta", frozen=True, kw_only=True):
    """An item of events: new text of one request. Followed by more items or a failed message."""

    id: RequestId
    # Whole characters only; may be empty when only logprobs are new.
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()


class ReasoningDelta(Message, tag="reasoning", frozen=True, kw_only=True):
    """An item of events: new text of what the model thinks. Followed by more items or a failed message."""

    id: RequestId
    # Whole characters only.
    text: str


class Done(Message, tag="done", frozen=True, kw_only=True):
    """An item of events: the good end of one request. Nothing follows."""

    id: RequestId
    finish_reason: FinishReason
    usage: Usage
    timings: Timings | None = None
    # Which stop string ended it.
    stop: str | None = None


Item: TypeAlias = (
    Prefill | Delta | ReasoningDelta | ToolCallBegin | ToolCallDelta | ToolCallEnd | Vectors | Tokens | Done
)


class Events(Message, frozen=True, kw_only=True):
    """Worker -> one frontend through the kernel, what is new for many requests.

    The first text and every end come at once; further text may be that of some steps together.
    """

    items: tuple[Item, ...]


class Cancel(Message, frozen=True, kw_only=True):
    """Frontend -> kernel -> worker: `Envelope.ids` are no longer wanted.

    Each still ends with one done (finish_reason "cancelled") or failed. Unknown ids are ignored.
    """


class Progress(Message, frozen=True, kw_only=True):
    """Kernel -> frontend: why a request waits. Worker -> kernel: how far a load is. Any number of these."""

    phase: Phase
    # In [0, 1]; None while it cannot be known.
    fraction: float | None = None
    detail: str = ""
    # Of a download: what is there, and all of it; 0 while that is not known.
    num_bytes: int = 0
    total_bytes: int = 0
    # Of a request that waits for a slot: 1 goes next. 0 while it is not known.
    position: Annotated[int, Meta(ge=0)] = 0


class Failed(Message, frozen=True, kw_only=True):
    """Kernel or worker -> frontend: the bad end of the requests in `Envelope.finished`. Nothing follows."""

    # A code of errors.py.
    code: str
    message: str
    # The request field at fault, in the request's own path notation.
    param: str | None = None
    retry_after_s: float | None = None
