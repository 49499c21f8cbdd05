"""GET /metrics, as Prometheus reads it."""

from __future__ import annotations

import pytest
from http_harness import USAGE, FakeClient, Reply, chat_body, fail, open_door
from prometheus_client.parser import text_string_to_metric_families

from plugins.http.measures import MAX_MODELS, Measures
from transports.errors import ModelNotFound, WorkerCrashed
from transports.messages import Done, Timings
from transports.reports import StatusReply, WorkerInfo

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class BusyClient(FakeClient):
    """A kernel with a worker that has something to tell."""

    async def status(self) -> StatusReply:
        found = await super().status()
        worker = WorkerInfo(
            name="text:demo/echo",
            pid=4,
            kind="text",
            model="demo/echo",
            state="ready",
            num_slots=8,
            num_active=3,
            num_queued=2,
            oldest_wait_s=1.5,
            num_started=40,
            waited_s=12.5,
            memory_bytes=1000,
            num_restarts=1,
        )
        return StatusReply(
            **{**{f: getattr(found, f) for f in found.__struct_fields__}, "workers": (worker,)}
        )


def samples(reply: Reply) -> Samples:
    """Every sample by its name and labels."""
    assert reply.status == 200
    families = text_string_to_metric_families(reply.body.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def test_requests_tokens_and_times_are_counted() -> None:
    async with open_door() as door:
        for stream in (False, True):
            await door.chat(stream=stream)
        found = samples(await door.request("GET", "/metrics"))

    route = "/v1/chat/completions"
    assert found[key("mlxd_http_requests_total", route=route, status="200", code="", model="demo/echo")] == 2
    assert found[key("mlxd_tokens_total", model="demo/echo", kind="prompt")] == 14
    assert found[key("mlxd_tokens_total", model="demo/echo", kind="cached")] == 6
    assert found[key("mlxd_http_request_duration_seconds_count", route=route, model="demo/echo")] == 2
    assert found[key("mlxd_http_requests_active")] == 1


async def test_an_error_in_the_middle_of_a_stream_is_counted_by_its_code() -> None:
    client = FakeClient()
    async with open_door(client) as door:
        await door.chat()
        client.script = fail(WorkerCrashed("gone"), "some text")
        connection = await door.raw(door.bytes_of("POST", "/v1/chat/completions", chat_body(stream=True)))
        await connection.rest()
        found = samples(await door.request("GET", "/metrics"))

    labels = {"route": "/v1/chat/completions", "status": "200", "model": "demo/echo"}
    assert found[key("mlxd_http_requests_total", code="worker_crashed", **labels)] == 1
    assert found[key("mlxd_http_requests_total", code="", **labels)] == 1


async def test_no_label_comes_from_a_client() -> None:
    client = FakeClient()
    client.script = fail(ModelNotFound("not here"))
    async with open_door(client) as door:
        await door.post("/v1/chat/completions", chat_body(model="made-up"), Authorization="Bearer made-up")
        await door.request("GET", "/made-up")
        await door.request("MADE-UP", "/metrics", User_Agent="made-up/1")
        reply = await door.request("GET", "/metrics")

    assert "made-up" not in reply.body.decode().lower()
    labels = {"route": "/v1/chat/completions", "status": "404", "code": "model_not_found", "model": "other"}
    assert samples(reply)[key("mlxd_http_requests_total", **labels)] == 1


async def test_the_kernels_state_is_told() -> None:
    async with open_door(BusyClient()) as door:
        found = samples(await door.request("GET", "/metrics"))

    assert found[key("mlxd_kernel_up")] == 1
    assert found[key("mlxd_worker_state", model="demo/echo", state="ready")] == 1
    assert found[key("mlxd_requests_running", model="demo/echo")] == 3
    assert found[key("mlxd_requests_queued", model="demo/echo")] == 2
    assert found[key("mlxd_queue_oldest_wait_seconds", model="demo/echo")] == 1.5
    assert found[key("mlxd_queue_wait_seconds_sum", model="demo/echo")] == 12.5
    assert found[key("mlxd_queue_wait_seconds_count", model="demo/echo")] == 40
    assert found[key("mlxd_worker_restarts_total", model="demo/echo")] == 1


async def test_without_a_kernel_the_frontend_tells_its_own() -> None:
    client = FakeClient()
    async with open_door(client) as door:
        await door.chat()
        client.lost.set()
        found = samples(await door.request("GET", "/metrics"))

    assert found[key("mlxd_kernel_up")] == 0
    assert any(name == "mlxd_http_requests_total" for name, _ in found)


async def test_openmetrics_is_spoken_to_those_who_ask_for_it() -> None:
    async with open_door() as door:
        plain = await door.request("GET", "/metrics")
        asked = await door.request("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert plain.headers["content-type"].startswith("text/plain")
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.body.endswith(b"# EOF\n")


class ManyMeasures(Measures):
    """Those of as many models as are told apart."""

    def __init__(self) -> None:
        super().__init__()
        end = Done(
            id="request-1", finish_reason="stop", usage=USAGE, timings=Timings(ttft_s=0.1, total_s=0.5)
        )
        for number in range(MAX_MODELS):
            for route in ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"):
                self.ended(route, 200, "", f"org/model-{number}", 0.3, [end])


async def test_many_models_do_not_stop_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """`open_door` fails where they do."""
    monkeypatch.setattr("plugins.http.metrics.Measures", ManyMeasures)
    async with open_door() as door:
        connection = await door.raw(door.bytes_of("GET", "/metrics", Connection="close"))
        answer = await connection.rest()

    assert answer.count(b"mlxd_http_request_duration_seconds_count{") == 4 * MAX_MODELS
