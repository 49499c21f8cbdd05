"""A world around a Broker without processes or sockets: plays the shell, the workers and the frontends."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from random import Random

import msgspec

from kernel.actions import (
    Action,
    CancelJob,
    Exit,
    Kill,
    MakeFolder,
    Measure,
    Prepare,
    RemoveFolder,
    RunJob,
    ScanCatalog,
    Send,
    Spawn,
)
from kernel.broker import Broker
from kernel.events import (
    CatalogScanned,
    Event,
    Measured,
    MessageReceived,
    PeerUnreachable,
    Prepared,
    ProcessExited,
    ProcessStarted,
    StopRequested,
    TimePassed,
)
from kernel.memory import KindFacts
from kernel.model_sizes import ModelSizes
from kernel.view import KernelView
from transports.codec import decode_body
from transports.frames import Parcel, parcel
from transports.loading import Ready
from transports.messages import (
    Bye,
    Cancel,
    ChatMessage,
    ChatRequest,
    Delta,
    Done,
    Events,
    Failed,
    Hello,
    Item,
    Pong,
    Usage,
)
from transports.reports import Admin, ModelInfo
from transports.settings import MIB, KernelSettings, ModelOptions, ModelsSettings, Settings

TOKEN = "client-token"
# What a worker of these takes besides its weights.
ENGINE_BYTES = 24 * MIB
CHAT = ChatRequest(messages=(ChatMessage(role="user", content="hi"),))


class World:
    """Drives a broker; by default processes start, say hello and load without being asked twice."""

    def __init__(
        self,
        *models: str,
        settings: KernelSettings | None = None,
        options: Mapping[str, ModelOptions] | None = None,
        aliases: Mapping[str, str] | None = None,
        num_slots: int = 2,
        preload: tuple[str, ...] = (),
        automatic: bool = True,
        budget_bytes: int = 2**60,
        sizes: Mapping[str, ModelSizes] | None = None,
    ) -> None:
        self.now = 1000.0
        self.num_slots = num_slots
        self.models = {name: _model(name) for name in models}
        # Model -> of its files on the disk, now.
        self.fingerprints: dict[str, str] = {}
        self.sizes = dict(sizes or {})
        view = KernelView(
            version="1",
            pid=1,
            home="/home",
            started_s=self.now,
            shared_dir="/shared",
            kinds={"echo": KindFacts(settings={"num_slots": 1, "step_s": 0.5}, overhead_bytes=ENGINE_BYTES)},
            memory_budget_bytes=budget_bytes,
        )
        kernel = settings or KernelSettings(frontends=())
        of_models = ModelsSettings(options=dict(options or {}), aliases=dict(aliases or {}))
        self.broker = Broker(Settings(kernel=kernel, models=of_models), view, TOKEN, Random(0), preload)
        # What peers were sent, the newest last.
        self.inbox: dict[str, list[Parcel]] = defaultdict(list)
        self.unreachable: set[str] = set()
        # Frontends that have a folder for shared files.
        self.folders: set[str] = set()
        # Name -> token of processes that were spawned and have not said hello.
        self.spawned: dict[str, str] = {}
        # Name -> peer of processes that said hello.
        self.workers: dict[str, str] = {}
        # Worker name -> ids it works on -> frontend peer.
        self.running: dict[str, dict[str, str]] = defaultdict(dict)
        # Worker name -> ids that it had and knows nothing of any more.
        self.forgotten: dict[str, list[str]] = defaultdict(list)
        # (frontend, id) -> how it ended, in order; exactly one is right.
        self.ends: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.actions: list[Action] = []
        self.kills: list[Kill] = []
        self.prepares: list[str] = []
        self.num_spawned: dict[str, int] = defaultdict(int)
        self.exit_code: int | None = None
        self.is_automatic = automatic
        # What measuring finds.
        self.measured = Measured()
        # Whether looking at the disk takes no time.
        self.scans = True
        self._num_ids = 0
        self._num_peers = 0
        self._events: deque[Event] = deque()
        self._is_handling = False
        self._do(self.broker.start(self.now))

    # --- the outside acts ---------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Let something happen; what follows from it happens after, in order, as in the shell."""
        self._events.append(event)
        if self._is_handling:
            return
        self._is_handling = True
        while self._events:
            self._do(self.broker.handle(self._events.popleft(), self.now))
            self.broker.check()
            assert self.folders == {peer.id for peer in self.broker._peers if peer.role == "frontend"}
        self._is_handling = False

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at each deadline on the way; everybody alive answers pings."""
        end = self.now + seconds
        while self.now < end:
            self.now = max(self.now, min(end, self.broker.next_deadline()))
            self.feed(TimePassed())
            for peer in [*self.inbox]:
                if any(message.envelope.type == "ping" for message in self.inbox[peer]):
                    self.inbox[peer] = [m for m in self.inbox[peer] if m.envelope.type != "ping"]
                    if self.is_automatic:
                        self.feed(MessageReceived(peer, parcel("pong", self._pong_of(peer))))

    def _pong_of(self, peer: str) -> Pong:
        """What a peer that does what it should answers: a worker gets on with its requests."""
        name = next((name for name, its_peer in self.workers.items() if its_peer == peer), "")
        num_active = len(self.running.get(name, ()))
        unknown = tuple(self.forgotten.get(name, ()))
        return Pong(progress=int(self.now) if num_active else 0, num_active=num_active, unknown=unknown)

    def feed_pongs(self, peer: str, seconds: int) -> None:
        """Let time pass while only this peer answers pings."""
        for _ in range(seconds):
            self.advance(1)
            self.feed(MessageReceived(peer, parcel("pong", Pong())))

    def feed_pongs_of_all(self, peers: list[str]) -> None:
        """These peers answer a ping."""
        for peer in peers:
            self.feed(MessageReceived(peer, parcel("pong", Pong())))

    def frontend(self) -> str:
        self._num_peers += 1
        peer = f"frontend-{self._num_peers}"
        self.say_hello(peer)
        return peer

    def say_hello(self, peer: str) -> None:
        """A frontend says hello, perhaps for the second time."""
        hello = Hello(role="frontend", kind="test", name=peer, token=TOKEN, pid=7, mlxd_version="1")
        self.feed(MessageReceived(peer, parcel("hello", hello)))

    def hello_frontend(self, name: str) -> str:
        """A frontend that the kernel started says hello."""
        self._num_peers += 1
        peer = f"frontend-{self._num_peers}"
        token = self.spawned.pop(name)
        hello = Hello(role="frontend", kind="http", name=name, token=token, pid=8, mlxd_version="1")
        self.feed(MessageReceived(peer, parcel("hello", hello)))
        return peer

    def scan(self, *names: str) -> None:
        """A look at the disk is done and found these models."""
        self.models |= {name: _model(name) for name in names}
        self.feed(CatalogScanned(self._on_disk(), self.sizes))

    def submit(
        self,
        peer: str,
        model: str,
        *,
        priority: int = 0,
        timeout_s: float = 0.0,
        request_id: str = "",
        client: str = "",
        fingerprint: str = "",
        keep_alive_s: float | None = None,
    ) -> str:
        self._num_ids += 1
        request_id = request_id or f"request-{self._num_ids}"
        message = parcel(
            "submit",
            CHAT,
            ids=(request_id,),
            model=model,
            task="chat",
            priority=priority,
            timeout_s=timeout_s,
            client=client,
            fingerprint=fingerprint,
            keep_alive_s=keep_alive_s,
        )
        self.feed(MessageReceived(peer, message))
        return request_id

    def cancel(self, peer: str, *ids: str) -> None:
        self.feed(MessageReceived(peer, parcel("cancel", Cancel(), ids=ids)))

    def admin(self, peer: str, operation: str, **args: object) -> str:
        self._num_ids += 1
        request_id = f"question-{self._num_ids}"
        self.feed(
            MessageReceived(peer, parcel("admin", Admin(**args), ids=(request_id,), task=operation))  # type: ignore[arg-type]
        )
        return request_id

    def bye(self, peer: str) -> None:
        self.feed(MessageReceived(peer, parcel("bye", Bye())))

    def stop(self, *, now: bool = False) -> None:
        self.feed(StopRequested(now))

    # --- workers act --------------------------------------------------------------------------

    def hello(self, name: str) -> str:
        self._num_peers += 1
        peer = f"worker-{self._num_peers}"
        self.workers[name] = peer
        hello = Hello(
            role="worker",
            kind="echo",
            name=name,
            token=self.spawned.pop(name),
            pid=99,
            mlxd_version="1",
        )
        self.feed(MessageReceived(peer, parcel("hello", hello)))
        return peer

    def ready(self, name: str) -> None:
        info = Ready(num_slots=self.num_slots, context_length=100)
        self.feed(MessageReceived(self.workers[name], parcel("ready", info)))

    def say(self, name: str, *items: Item) -> None:
        """A worker sends items of one frontend's requests."""
        peers = {self.running[name][item.id] for item in items}
        assert len(peers) == 1
        finished = [item.id for item in items if isinstance(item, Done)]
        ids = tuple(dict.fromkeys(item.id for item in items))
        for request_id in finished:
            del self.running[name][request_id]
        message = parcel("events", Events(items=items), ids=ids, finished=finished, peer=peers.pop())
        self.feed(MessageReceived(self.workers[name], message))

    def finish(self, name: str, request_id: str, text: str = "x") -> None:
        usage = Usage(prompt_tokens=1, completion_tokens=1)
        done = Done(id=request_id, finish_reason="stop", usage=usage)
        self.say(name, Delta(id=request_id, text=text), done)

    def forget(self, name: str, request_id: str) -> None:
        """A worker loses a request."""
        del self.running[name][request_id]
        self.forgotten[name].append(request_id)

    def die(self, name: str, returncode: int = -9, *words: str) -> None:
        self.workers.pop(name, None)
        self.spawned.pop(name, None)
        self.running.pop(name, None)
        self.forgotten.pop(name, None)
        self.feed(ProcessExited(name, returncode, words))

    # --- what was seen ------------------------------------------------------------------------

    def types(self, peer: str) -> list[str]:
        return [message.envelope.type for message in self.inbox[peer]]

    def failure(self, peer: str, request_id: str) -> Failed:
        """The failed message that ended a request."""
        for message in reversed(self.inbox[peer]):
            if message.envelope.type == "failed" and request_id in message.envelope.finished:
                return decode_body(message.body, Failed)
        raise AssertionError(f"{request_id} did not fail")

    def reply(self, peer: str, request_id: str, type_: type[msgspec.Struct]) -> msgspec.Struct:
        for message in reversed(self.inbox[peer]):
            if message.envelope.type == "reply" and request_id in message.envelope.ids:
                return decode_body(message.body, type_)  # type: ignore[type-var]
        raise AssertionError(f"{request_id} was not answered")

    def worker_of(self, model: str) -> str:
        return f"echo:{model}"

    # --- the shell ----------------------------------------------------------------------------

    def _do(self, actions: list[Action]) -> None:
        self.actions += actions
        for action in actions:
            match action:
                case Send(peer, message):
                    self._deliver(peer, message)
                case Spawn(name, token=token):
                    self.num_spawned[name] += 1
                    self.spawned[name] = token
                    if self.is_automatic:
                        self.feed(ProcessStarted(name, 99))
                        self.hello(name)
                case MakeFolder(peer):
                    assert peer not in self.folders
                    self.folders.add(peer)
                case RemoveFolder(peer):
                    self.folders.discard(peer)
                case Kill(name, signal):
                    self.kills.append(action)
                    if signal == "kill" and self.is_automatic:
                        self.die(name)
                case Prepare(model):
                    self.prepares.append(model)
                    if self.is_automatic:
                        self.feed(Prepared(model, f"/models/{model}", self.fingerprints.get(model, "")))
                case ScanCatalog() if self.scans:
                    self.look()
                case Exit(code):
                    self.exit_code = code
                case Measure():
                    self.feed(self.measured)
                case RunJob() | CancelJob():
                    pass

    def look(self) -> None:
        """The disk was looked at."""
        self.feed(CatalogScanned(self._on_disk(), self.sizes))

    def _on_disk(self) -> tuple[ModelInfo, ...]:
        return tuple(
            msgspec.structs.replace(model, fingerprint=self.fingerprints.get(name, ""))
            for name, model in self.models.items()
        )

    def _deliver(self, peer: str, message: Parcel) -> None:
        if peer in self.unreachable:
            self.feed(PeerUnreachable(peer, "gone"))
            return
        self.inbox[peer].append(message)
        envelope = message.envelope
        name = next((name for name, its_peer in self.workers.items() if its_peer == peer), None)
        if name is None:
            for request_id in envelope.finished:
                self.ends[peer, request_id].append(envelope.type)
        elif envelope.type == "submit":
            self.running[name][envelope.ids[0]] = envelope.peer
        elif envelope.type == "load" and self.is_automatic:
            self.ready(name)
        elif envelope.type == "cancel":
            for request_id in envelope.ids:
                if request_id in self.running[name]:
                    usage = Usage(prompt_tokens=1, completion_tokens=0)
                    self.say(name, Done(id=request_id, finish_reason="cancelled", usage=usage))
        elif envelope.type == "unload" and self.is_automatic:
            self.die(name, 0)


def _model(name: str) -> ModelInfo:
    return ModelInfo(name=name, kind="echo", state="available", source="folder", path=f"/models/{name}")
