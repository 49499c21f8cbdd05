"""What `mlxd plugins` says of frontends: what is installed, with the states of their processes."""

from __future__ import annotations

from plugins.cli.plugins import with_processes
from transports.reports import FrontendInfo, PluginInfo


def plugin(name: str, state: str = "installed", role: str = "frontend") -> PluginInfo:
    return PluginInfo(name=name, role=role, distribution="d", version="1", state=state)  # type: ignore[arg-type]


def process(kind: str, state: str, error: str = "") -> FrontendInfo:
    return FrontendInfo(name=kind, pid=1, kind=kind, supervised=True, state=state, error=error)


def test_a_frontend_has_the_state_of_its_process() -> None:
    found = (
        plugin("http"),
        plugin("door"),
        plugin("off"),
        plugin("bad", "broken"),
        plugin("text", role="worker"),
    )
    running = {"http": process("http", "ready"), "door": process("door", "failed", "no port")}

    shown = with_processes(found, ("http", "door", "bad", "text"), running)
    assert [(one.name, one.state, one.error) for one in shown] == [
        ("text", "missing", ""),
        ("http", "ready", ""),
        ("door", "failed", "no port"),
        ("off", "installed", ""),
        ("bad", "broken", ""),
        ("text", "installed", ""),
    ]


def test_without_a_server_it_is_enabled_or_not() -> None:
    shown = with_processes((plugin("http"), plugin("door")), ("http",), {})

    assert [one.state for one in shown] == ["enabled", "installed"]
