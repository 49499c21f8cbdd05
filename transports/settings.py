"""Every setting of mlxd with its type, limits and default, in one place; knows nothing of files.

`config.py` fills these from the file, the environment and the flags.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from transports import loading, messages, vectors

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]

KIB = 1024
MIB = 1024 * KIB


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, and an unknown key is an error."""


class KernelSettings(Section, frozen=True, kw_only=True):
    """[kernel]: limits of the broker and rules of the supervisor."""

    # Frontends that the kernel starts; the CLI's private kernel starts none.
    frontends: tuple[str, ...] = ("http",)
    heartbeat_s: Annotated[float, Meta(ge=0.05, le=60)] = 1.0
    # Without a pong for this long a peer is dead. RFC 7: three to five heartbeats.
    dead_after_s: Annotated[float, Meta(ge=0.1)] = 5.0
    # A worker that decodes without progress for this long is hung: no step takes so long.
    hung_after_s: Annotated[float, Meta(ge=0.1)] = 20.0
    # The same while it reads a prompt: a chunk of it, or a picture, is far more work than a token.
    prefill_hung_after_s: Annotated[float, Meta(ge=0.1)] = 60.0
    # A loading worker without progress for this long is hung.
    load_stalled_after_s: Annotated[float, Meta(ge=0.1)] = 120.0
    # From the start of a process to its hello.
    start_timeout_s: Annotated[float, Meta(ge=0.1)] = 30.0
    # Requests that wait for one model, and their bodies and buffers together.
    max_queued: Count = 64
    max_queued_bytes: Bytes = 256 * MIB
    # How long a request waits for a slot once its model is loaded.
    max_queued_s: Seconds = 300.0
    # Of one client of a frontend, so many at once and on average; 0 is no limit: most share a machine
    # with people whom they know.
    max_requests_per_client_per_minute: Annotated[int, Meta(ge=0)] = 0
    # A request that was inside a worker when that died may run only alone, and after a second time not at
    # all, for so long; 0 trusts every request.
    quarantine_s: Seconds = 600.0
    # Requests of one frontend inside the kernel.
    max_requests_per_peer: Count = 1024
    max_peers: Count = 256
    max_frame_bytes: Bytes = 64 * MIB
    # Envelope, body, and the pixels or numbers that go with it.
    max_frames: Annotated[int, Meta(ge=3, le=1024)] = 40
    # Messages that a peer has not taken yet, before it counts as lost.
    max_unsent: Count = 1000
    # Of one frontend, a second, half of it at once; 0 is no limit. Who is over one of these four is cut off.
    # All messages: one that always has 64 requests open sends 30,000 with two slow cores.
    max_messages_per_s: Annotated[int, Meta(ge=0)] = 200_000
    # Their bodies and buffers: large pictures go in shared files.
    max_bytes_per_s: Bytes = 512 * MIB
    # Such as were refused or of no use: a frontend passes on what its own clients do wrong.
    max_refused_per_s: Annotated[int, Meta(ge=0)] = 10_000
    # Such as break the protocol: a good one sends none.
    max_malformed_per_s: Annotated[int, Meta(ge=0)] = 100
    # Whoever was cut off is not heard for so long, and each further time for twice as long.
    cut_off_s: Annotated[float, Meta(ge=1)] = 30.0
    # Administrators' questions of one frontend a second, a fifth at once; more are refused. Each takes as
    # long as ten requests.
    max_questions_per_s: Annotated[int, Meta(ge=0)] = 1000
    # Models in memory at once; the least recently used idle one makes room.
    max_models: Count = 4
    # Without requests for so long a model leaves memory; 0 keeps it. Longer than a pause in a conversation.
    idle_unload_s: Seconds = 1800.0
    # For all models together; 0 leaves 20 GB of a machine from 64 GB on, 8 GB from 24 GB on, else 4 GB,
    # and on a Mac gives no more than the GPU may have; of an NVIDIA GPU's own memory a twentieth, at least
    # 1 GiB.
    memory_budget_bytes: Bytes = 0
    # How often memory is measured: a worker of 5 GB takes the system some milliseconds.
    memory_interval_s: Annotated[float, Meta(ge=0.1)] = 5.0
    # With less left, also in a GPU, idle models leave and none is loaded; 0 never. Linux only, as macOS says
    # by itself.
    min_available_bytes: Bytes = 512 * MIB
    # The same when processes wait for memory for more of the time (PSI, some avg10); 0 never.
    max_stall_percent: Annotated[float, Meta(ge=0, le=100)] = 40.0
    # How long requests then wait for their model; clients give up or try elsewhere after some seconds.
    pressure_wait_s: Seconds = 10.0
    # Kill ladder: after a request to end, after SIGTERM.
    stop_timeout_s: Seconds = 2.0
    kill_timeout_s: Seconds = 3.0
    # Running requests may finish for this long after the first SIGTERM or Ctrl-C.
    drain_timeout_s: Seconds = 30.0
    # Delays before the second and later restarts; the first is immediate. +-20 % jitter.
    restart_first_delay_s: Annotated[float, Meta(gt=0)] = 0.5
    restart_max_delay_s: Annotated[float, Meta(gt=0)] = 30.0
    # This many crashes in `crash_window_s`, or `max_start_crashes` before ready: stay down.
    max_crashes: Count = 5
    crash_window_s: Seconds = 60.0
    max_start_crashes: Count = 3
    # A model that could not be loaded is not tried again for requests before this.
    failed_retry_s: Seconds = 30.0
    # A process that stayed down is tried again after this.
    crash_loop_retry_s: Seconds = 300.0


class HttpSettings(Section, frozen=True, kw_only=True):
    """[http]: the HTTP frontend."""

    host: str = "127.0.0.1"
    # 0 takes a free port.
    port: Port = 11440
    # Refuse unknown fields of a request with 400 instead of naming them in X-Mlxd-Ignored; not those within
    # its messages, which clients send back as another server wrote them.
    strict: bool = False
    # Leave out tools of a model that calls none, and efforts of one that never thinks, and say so in
    # X-Mlxd-Ignored, instead of a 400. For clients that send them with every turn, whichever the model.
    ignore_unusable_fields: bool = False
    # Images travel inside the body: Open WebUI sends 13 MB for one photograph.
    max_body_bytes: Bytes = 32 * MIB
    # The same on routes that take no pictures. Twice the text that a request may have: who sends somewhat
    # more than that is told so.
    max_text_body_bytes: Bytes = 16 * MIB
    # Of one request for embeddings, or documents of one rerank: OpenAI's own limit.
    max_inputs: Annotated[int, Meta(ge=1, le=vectors.MAX_INPUTS)] = 2048
    # Responses of /v1/responses that clients can go on from, in memory: so many, so large together, and each
    # until nobody asked for it for so long. Their pictures are kept with them. 0 of the first keeps none.
    max_stored_responses: Annotated[int, Meta(ge=0)] = 1000
    max_stored_bytes: Bytes = 256 * MIB
    stored_response_s: Annotated[float, Meta(gt=0)] = 86_400.0
    # An idle stream costs some 20 kB.
    max_connections: Count = 2048
    # Of them from one address, or one network of IPv6, but for this machine's own: behind a proxy, and
    # behind an Open WebUI, all have the same. An eighth of all; 0 is no limit.
    max_connections_per_address: Annotated[int, Meta(ge=0)] = 256
    header_timeout_s: Seconds = 10.0
    # For the whole body.
    body_timeout_s: Seconds = 60.0
    keepalive_timeout_s: Seconds = 75.0
    # Comments in an event stream, and how long a non-streamed request stays silent.
    sse_keepalive_s: Annotated[float, Meta(ge=0.05)] = 5.0
    # A client that took nothing for so long is gone.
    write_timeout_s: Seconds = 30.0
    # Host headers answered besides localhost and loopback addresses.
    allowed_hosts: tuple[str, ...] = ()
    # Origins of web pages that may ask and read answers; exactly these, none by default.
    allowed_origins: tuple[str, ...] = ()
    # PEM files; with both the port speaks TLS, and nothing else.
    tls_cert_file: str = ""
    tls_key_file: str = ""


class StdioSettings(Section, frozen=True, kw_only=True):
    """[stdio]: the frontend that an editor starts."""

    # Images travel inside the message, as in `http.max_body_bytes`.
    max_message_bytes: Annotated[int, Meta(ge=1024)] = 32 * MIB
    # Of the editor's in flight; it has a few, and each keystroke cancels the last.
    max_requests: Count = 64
    # A stream that could write nothing for so long is cancelled; the editor may be stopped for longer.
    write_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    # Folders below which `file:` URLs of pictures may point. None by default: what an editor passes on
    # may come from a page that it shows.
    file_roots: tuple[str, ...] = ()


class MediaSettings(Section, frozen=True, kw_only=True):
    """[media]: pictures and documents, as frontends take them."""

    # Of one picture or document as it is sent, before it is decoded.
    max_file_bytes: Bytes = 20 * MIB
    # Of one request; each page of a document is one.
    max_images: Annotated[int, Meta(ge=1, le=256)] = 16
    # Of one picture, and of all of a request, before they are made smaller.
    max_image_pixels: Count = 50_000_000
    max_total_pixels: Count = 64_000_000
    # The larger side of what a model gets to see; 0 chooses by the machine's memory.
    max_image_side: Annotated[int, Meta(ge=0, le=8192)] = 0
    # Of one document.
    max_pdf_pages: Annotated[int, Meta(ge=1, le=256)] = 16
    # Processes that decode, each started when it is first needed; 0 is one for two processors, at most 4.
    num_decoders: Annotated[int, Meta(ge=0, le=64)] = 0
    # Processor time for one picture or page.
    decode_cpu_s: Annotated[int, Meta(ge=1, le=600)] = 5
    # Pixels of this many bytes and more go to a worker in a shared file, fewer in the message.
    shared_memory_bytes: Bytes = 512 * KIB
    # Shared files of one frontend together; what finds no room goes in the message.
    max_shared_bytes: Bytes = 256 * MIB
    # Pictures may be http and https URLs of public hosts.
    remote_images: bool = True
    # Hosts that such URLs may name although they are not public.
    allowed_hosts: tuple[str, ...] = ()
    # For the whole picture behind a URL.
    fetch_timeout_s: Annotated[float, Meta(gt=0)] = 10.0


class TextSettings(Section, frozen=True, kw_only=True):
    """[text]: workers of kind text."""

    # Requests decoded together.
    num_slots: Annotated[int, Meta(ge=1, le=256)] = 32
    # "auto" takes Metal or CUDA where there is a GPU that mlx can use.
    device: Literal["auto", "cpu", "gpu"] = "auto"
    # Prompt tokens a step: bounds how long a new prompt delays the running streams.
    prefill_step_tokens: Annotated[int, Meta(ge=16, le=8192)] = 256
    # Of a decode step's time, what longer prompts than that may take beside it; 0 does not look at the time.
    # With 1.8 tokens of a running answer come less than three times as far apart as at rest.
    prefill_share: Annotated[float, Meta(ge=0, le=1000)] = 1.8
    # On a CPU with a processor to spare prompts are read there, all the time, and hold up no answer; that
    # share is then of no meaning. Off, a worker computes on one processor.
    prefill_beside: bool = True
    # Prompts prefilled side by side, sharing those; with 4 eight streams at once ran 3 % slower.
    prefill_batch_size: Annotated[int, Meta(ge=1, le=64)] = 8
    # Keys and values kept for prompts that come back.
    prompt_cache_bytes: Bytes = 1024 * MIB
    # Keys and values of running requests and of the prompt cache together; 0 leaves it to the kernel.
    kv_cache_bytes: Bytes = 0
    # 0 takes the model's own; smaller saves memory.
    max_context_tokens: Annotated[int, Meta(ge=0)] = 0
    # Servers that set it met kernel panics on macOS under load (mlx#3186).
    wired_limit: bool = False


class VisionSettings(Section, frozen=True, kw_only=True):
    """[vision]: workers of kind vision."""

    # Requests decoded together.
    num_slots: Annotated[int, Meta(ge=1, le=256)] = 16
    # "auto" takes Metal or CUDA where there is a GPU that mlx can use.
    device: Literal["auto", "cpu", "gpu"] = "auto"
    # Prompt tokens a step: bounds how long a new prompt delays the running streams.
    prefill_step_tokens: Annotated[int, Meta(ge=16, le=8192)] = 256
    # Of a decode step's time, what longer prompts than that may take beside it; 0 does not look at the time.
    # With 1.8 tokens of a running answer come less than three times as far apart as at rest.
    prefill_share: Annotated[float, Meta(ge=0, le=1000)] = 1.8
    # Keys and values kept for prompts that come back.
    prompt_cache_bytes: Bytes = 1024 * MIB
    # Keys and values of running requests and of the prompt cache together; 0 leaves it to the kernel.
    kv_cache_bytes: Bytes = 0
    # What the model made of pictures, kept for those that come back.
    image_cache_bytes: Bytes = 256 * MIB
    # 0 takes the model's own; smaller saves memory.
    max_context_tokens: Annotated[int, Meta(ge=0)] = 0
    # Servers that set it met kernel panics on macOS under load (mlx#3186).
    wired_limit: bool = False


class EmbeddingSettings(Section, frozen=True, kw_only=True):
    """[embedding]: workers of kind embedding."""

    # Requests whose inputs are computed together.
    num_slots: Annotated[int, Meta(ge=1, le=256)] = 32
    # "auto" takes Metal or CUDA where there is a GPU that mlx can use.
    device: Literal["auto", "cpu", "gpu"] = "auto"
    # Tokens that a step computes, padding included: bounds how long a new or a cancelled request waits, and
    # the memory for it. One longer input goes alone. Of a small model on a slow core a second's work.
    step_tokens: Annotated[int, Meta(ge=64, le=1 << 20)] = 1024
    # 0 takes the model's own; smaller saves memory.
    max_context_tokens: Annotated[int, Meta(ge=0)] = 0


class ModelOptions(Section, frozen=True, kw_only=True):
    """[models.options."NAME"]: what is different for one model; None takes the general setting."""

    # Makes no room for others and does not leave for being idle.
    pinned: bool = False
    # Like `kernel.idle_unload_s`.
    idle_unload_s: Seconds | None = None
    # Like those of the model's worker kind.
    num_slots: Annotated[int, Meta(ge=1, le=256)] | None = None
    max_context_tokens: Annotated[int, Meta(ge=0)] | None = None
    # The lock file of its environment in place of its worker kind's; relative to mlxd's folder.
    requirements: str | None = None
    # For requests that do not say; before the model's generation_config.json.
    temperature: messages.Temperature | None = None
    top_p: messages.TopP | None = None
    top_k: messages.TopK | None = None
    min_p: messages.MinP | None = None
    repetition_penalty: messages.RepetitionPenalty | None = None
    # No longer than the context has room.
    max_tokens: messages.MaxTokens | None = None

    def defaults(self) -> loading.Defaults:
        """What a request gets that does not say it."""
        return loading.Defaults(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            max_tokens=self.max_tokens,
        )

    def for_worker(self) -> dict[str, int]:
        """What replaces keys of the worker kind's section."""
        given = {"num_slots": self.num_slots, "max_context_tokens": self.max_context_tokens}
        return {key: value for key, value in given.items() if value is not None}


class ModelsSettings(Section, frozen=True, kw_only=True):
    """[models]: where models are looked for, and what is different for single ones."""

    # Folders of model folders, besides MLXD_HOME/models.
    paths: tuple[str, ...] = ()
    # The Hugging Face cache (HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface/hub).
    hub_cache: bool = True
    # Loaded by `mlxd serve` without arguments.
    default: str = "demo/smollm2-135m"
    # How long building an environment or fetching a model may take.
    prepare_timeout_s: Annotated[float, Meta(ge=1)] = 1800.0
    # How long one `mlxd pull` may take; the next goes on where it ended. A day: 100 GB at 1.2 MB/s.
    pull_timeout_s: Annotated[float, Meta(ge=1)] = 86_400.0
    # Another name -> the model that it stands for: programs ask for the names that they know.
    aliases: dict[str, str] = {}
    # By model; only a file has tables.
    options: dict[str, ModelOptions] = {}


class LogSettings(Section, frozen=True, kw_only=True):
    """[log]: what is written to stderr and to MLXD_HOME/logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    # Of each process; one older file is kept.
    max_bytes: Bytes = 10 * MIB


class Settings(Section, frozen=True, kw_only=True):
    """All sections."""

    kernel: KernelSettings = KernelSettings()
    http: HttpSettings = HttpSettings()
    stdio: StdioSettings = StdioSettings()
    media: MediaSettings = MediaSettings()
    text: TextSettings = TextSettings()
    vision: VisionSettings = VisionSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    models: ModelsSettings = ModelsSettings()
    log: LogSettings = LogSettings()
    # Tables of frontends and worker kinds that are not ours, by their names; unread by us.
    plugins: dict[str, dict[str, object]] = {}

    def section(self, name: str) -> dict[str, object]:
        """The section of a frontend or worker kind, as plain values; {} for one without."""
        if name not in SECTIONS:
            return self.plugins.get(name, {})
        section: dict[str, object] = msgspec.to_builtins(getattr(self, name))
        return section


# The sections that are ours.
SECTIONS = tuple(name for name in Settings.__struct_fields__ if name != "plugins")
