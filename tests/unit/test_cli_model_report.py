"""`mlxd models show` says what a model takes of the memory, and what becomes of it."""

from __future__ import annotations

import pytest

from plugins.cli.model_report import print_report
from transports.reports import MemoryEstimate, ModelInfo, ModelReport

GB = 10**9
MODEL = ModelInfo(name="a/b", kind="text", state="ready", source="folder", size_bytes=GB)
ESTIMATE = MemoryEstimate(
    weights_bytes=4 * GB,
    overhead_bytes=GB,
    images_bytes=0,
    kv_bytes=2 * GB,
    total_bytes=7 * GB,
    context_tokens=4096,
)


def printed(report: ModelReport, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    print_report(report)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    return {name.strip(): value.strip() for name, _, value in (line.partition("  ") for line in lines)}


def test_a_loaded_model(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(
        ModelReport(model=MODEL, estimate=ESTIMATE, memory_bytes=6 * GB, settings={"num_slots": 4}), capsys
    )

    assert (shown["memory"], shown["estimate"], shown["weights"]) == ("6.0 GB", "7.0 GB", "4.0 GB")
    assert shown["keys, values"] == "2.0 GB, one sequence has up to 4096 tokens"
    assert (shown["leaves"], shown["settings"]) == ("never when idle", "num_slots = 4")
    assert "pictures" not in shown


def test_a_model_on_a_gpu_has_memory_in_two_places(capsys: pytest.CaptureFixture[str]) -> None:
    report = ModelReport(model=MODEL, estimate=ESTIMATE, memory_bytes=GB, gpu_memory_bytes=6 * GB)

    assert printed(report, capsys)["memory"] == "1.0 GB + 6.0 GB GPU"


def test_its_other_names(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(ModelReport(model=MODEL), ("gpt-4o", "gpt-4o-mini"))

    assert "gpt-4o, gpt-4o-mini" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("is_pinned", "said"),
    [(False, "after 5 min without requests"), (True, "only when it is unloaded: it is pinned")],
)
def test_when_it_leaves(is_pinned: bool, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = ModelReport(model=MODEL, estimate=ESTIMATE, is_pinned=is_pinned, idle_unload_s=300)

    assert said == printed(report, capsys)["leaves"]


def test_one_that_does_not_fit_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        printed(ModelReport(model=MODEL, estimate=ESTIMATE, refusal="too big"), capsys)["does not fit"]
        == "too big"
    )


def test_one_that_cannot_be_served_has_no_memory(capsys: pytest.CaptureFixture[str]) -> None:
    broken = ModelInfo(name="a/b", kind="", state="failed", source="hub", error="no weights")

    shown = printed(ModelReport(model=broken), capsys)

    assert shown["error"] == "no weights"
    assert not {"estimate", "leaves"} & set(shown)
