"""The life of a worker: hello, load one model, answer requests until told to unload."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from transports.codec import decode_body
from transports.envelope import new_id
from transports.errors import MlxdError, ModelUnavailable
from transports.frames import Parcel, parcel
from transports.garbage import keep_what_lives
from transports.loading import Load, Ready
from transports.logs import get_logger
from transports.messages import Pong, Progress, Welcome
from transports.tether import PeerBootstrap
from workers.engine import Engine
from workers.heap import give_back_freed
from workers.kinds import loader
from workers.link import Link, hello_of
from workers.panics import panics_caught
from workers.protocol import Session

log = get_logger()


def run(bootstrap: PeerBootstrap) -> None:
    """Serve one model; returns when the kernel says unload."""
    with closing(Link(bootstrap.endpoint, new_id(), hello_of(bootstrap))) as link:
        welcome = decode_body(_next_of(link, "welcome").body, Welcome)
        link.answer_pings(welcome.heartbeat_s / 2)
        order = _next_of(link, "load", "unload")
        if order.envelope.type == "unload":
            return
        load = decode_body(order.body, Load)
        engine = _load(link, bootstrap.loader, load)
        if engine is None:
            return
        _serve(link, Session(engine, link.send, welcome, load.defaults), engine)
        engine.close()


def _load(link: Link, loader_name: str, load: Load) -> Engine | None:
    """Load what the kernel names; None when it could not be loaded."""
    counter = 0

    def on_progress(progress: Progress) -> None:
        nonlocal counter
        counter += 1
        link.report_load(progress, counter)

    try:
        with panics_caught():
            engine = loader(loader_name)(Path(load.path), load.settings, on_progress)
    except MlxdError as e:
        _cannot_load(link, e)
        return None
    except Exception as e:
        # A bug of somebody's loader: to be told, and not to be tried again and again.
        log.exception("loader_raised", loader=loader_name)
        _cannot_load(link, ModelUnavailable(f"{load.path}: cannot be loaded: {type(e).__name__}: {e}"))
        return None
    keep_what_lives()
    give_back_freed()
    info = engine.info
    link.send(
        parcel(
            "ready",
            Ready(
                num_slots=info.num_slots,
                context_length=info.context_length,
                device=info.device,
                notes=info.notes,
            ),
        )
    )
    return engine


def _cannot_load(link: Link, error: MlxdError) -> None:
    log.error("load_failed", reason=error.message)
    link.send(parcel("failed", error.to_failed()))
    # The kernel has read it when it answers; leaving first could lose it.
    _next_of(link, "unload")


def _serve(link: Link, session: Session, engine: Engine) -> None:
    link.report_with(
        lambda: Pong(
            progress=engine.progress(),
            num_active=session.num_active,
            num_prefilling=session.num_prefilling,
        ),
        session.has,
    )
    while True:
        for message in link.arrived(wait=not engine.has_work()):
            if message.envelope.type == "unload":
                return
            session.handle(message)
        if engine.has_work():
            session.step()


def _next_of(link: Link, *types: str) -> Parcel:
    while True:
        message = link.receive()
        if message.envelope.type in types:
            return message
