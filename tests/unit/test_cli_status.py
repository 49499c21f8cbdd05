"""What `mlxd status` says of things that do not run."""

from __future__ import annotations

import pytest

from plugins.cli.status import _budget, _print_reason, _print_status, _print_workers
from transports.messages import Progress
from transports.reports import MemoryReport, OutcastInfo, StatusReply, WorkerInfo

GB = 10**9


def worker(state: str, **fields: object) -> WorkerInfo:
    return WorkerInfo(name="echo:m", pid=0, kind="echo", model="m", state=state, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (worker("ready"), ""),
        (
            worker("crash-looped", error="signal 6: it broke", retry_in_s=250.2),
            "m is crash-looped: signal 6: it broke; next try in 4 min 10 s, at once with `mlxd load m`",
        ),
        (
            worker("failed", error="model.safetensors: missing", retry_in_s=12),
            "m is failed: model.safetensors: missing; the next request after 12 s tries again, "
            "`mlxd load m` at once",
        ),
        (
            worker("preparing", progress=Progress(phase="environment", detail="mlx")),
            "m is preparing: building the environment (mlx)",
        ),
        # Errors of models begin with their names.
        (
            worker("failed", error="m: Model type x not supported.", retry_in_s=0),
            "m is failed: Model type x not supported; the next request tries again, `mlxd load m` at once",
        ),
        (
            worker("loading", progress=Progress(phase="load"), error="signal 6 (SIGABRT)"),
            "m is loading: loading the model; before that its process ended: signal 6 (SIGABRT)",
        ),
        (
            worker("waiting", progress=Progress(phase="queued"), error="no place in memory yet"),
            "m is waiting: no place in memory yet",
        ),
    ],
)
def test_a_reason_is_one_line(info: WorkerInfo, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    _print_reason("m", info)

    assert capsys.readouterr().out.strip() == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"is_pinned": True}, "pinned"),
        ({"leaves_in_s": 299.7}, "in 4 min"),
        ({"num_active": 1}, "-"),
        ({"num_queued": 1}, "-"),
        ({}, "never"),
    ],
)
def test_when_a_model_leaves_memory_is_told(
    fields: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _print_workers((worker("ready", **fields),))

    head, row = capsys.readouterr().out.splitlines()
    at = head.index("LEAVES")
    assert row[at:].strip() == said


def test_last_words_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("\x1b]0;title\x07bad \x1b[31mred", "two\rthree")

    _print_reason("m", worker("backoff", error="\x1b[2Jgone", retry_in_s=1, last_words=words))

    assert capsys.readouterr().out.splitlines()[1:] == [
        "m is backoff: gone; next try in 1 s, at once with `mlxd load m`",
        "  | bad red",
        "  | two three",
    ]


def test_the_memory_of_a_gpu_is_told_beside_the_machines(capsys: pytest.CaptureFixture[str]) -> None:
    memory = MemoryReport(
        budget_bytes=76 * GB, charged_bytes=GB, available_bytes=9 * GB, gpu_free_bytes=70 * GB
    )

    assert _budget(memory) == "1.0 GB of 76 GB; the system has 9.0 GB left; the GPU has 70 GB left"

    _print_workers((worker("ready", memory_bytes=GB, gpu_memory_bytes=6 * GB),))

    assert "1.0 GB + 6.0 GB GPU" in capsys.readouterr().out


def test_who_was_cut_off_and_why_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    outcast = OutcastInfo(name="bad\x1b[2J", pid=7, reason="it sent more", age_s=12)
    status = StatusReply(
        version="1",
        pid=1,
        uptime_s=1,
        state="running",
        memory_bytes=1,
        home="/",
        is_ready=True,
        outcasts=(outcast,),
    )

    _print_status(status)

    assert capsys.readouterr().out.splitlines()[-1] == "bad, pid 7 was cut off 12 s ago: it sent more"
