"""Counts of the frontend and the kernel's status in Prometheus' text format.

Imported when somebody asks for it first: prometheus_client takes 30 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TypeAlias, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from plugins.http.measures import Histogram, Measures
from transports.reports import StatusReply

Labels: TypeAlias = tuple[str, ...]


def exposition(
    accept: str, measures: Measures, num_active: int, status: StatusReply | None
) -> tuple[bytes, str]:
    """What is answered to a scrape, and its content type.

    Args:
        accept: The request's header.
        measures: Of the frontend.
        num_active: Requests that it answers now.
        status: Of the kernel; None when it did not answer.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(cast(Collector, _Families([*_frontend(measures, num_active), *_kernel(status)])))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Families:
    """As prometheus_client wants them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _frontend(measures: Measures, num_active: int) -> Iterator[Metric]:
    yield _gauge("mlxd_http_requests_active", "Requests that are being answered.", [((), num_active)])
    yield _counter(
        "mlxd_http_requests",
        "Requests that were answered; code is that of an error, also of one in the middle of a stream.",
        ("route", "status", "code", "model"),
        [((key.route, str(key.status), key.code, key.model), n) for key, n in measures.requests.items()],
    )
    yield _counter(
        "mlxd_tokens",
        "Tokens of answers that ended well: prompt, cached (part of the prompt), completion.",
        ("model", "kind"),
        measures.tokens.items(),
    )
    yield _histogram(
        "mlxd_http_request_duration_seconds",
        "From the head of a request to the end of its answer.",
        ("route", "model"),
        measures.duration_s.items(),
    )
    yield _histogram(
        "mlxd_time_to_first_token_seconds",
        "From the arrival in the worker to the first token: without the wait for a slot.",
        ("model",),
        [((model,), histogram) for model, histogram in measures.first_token_s.items()],
    )
    yield _histogram(
        "mlxd_time_per_output_token_seconds",
        "Mean of each answer after its first token.",
        ("model",),
        [((model,), histogram) for model, histogram in measures.output_token_s.items()],
    )


def _kernel(status: StatusReply | None) -> Iterator[Metric]:
    yield _gauge("mlxd_kernel_up", "Whether the kernel answered.", [((), status is not None)])
    if status is None:
        return
    yield _gauge("mlxd_info", "Always 1.", [((status.version, status.state), 1)], ("version", "state"))
    yield _gauge("mlxd_ready", "Whether all that was named at the start is up.", [((), status.is_ready)])
    yield _gauge("mlxd_kernel_uptime_seconds", "Since its start.", [((), status.uptime_s)])
    yield _gauge("mlxd_kernel_memory_bytes", "Resident memory.", [((), status.memory_bytes)])
    yield _gauge(
        "mlxd_worker_state",
        "1 for the state of each model that is in memory, on its way there, or failed.",
        [((worker.model, worker.state), 1) for worker in status.workers],
        ("model", "state"),
    )
    for name, what, field in _WORKER_GAUGES:
        yield _gauge(name, what, _each(status, field), ("model",))
    restarts = _each(status, "num_restarts")
    yield _counter("mlxd_worker_restarts", "Restarts after it ended by itself.", ("model",), restarts)
    waits = SummaryMetricFamily(
        "mlxd_queue_wait_seconds", "How long requests waited that got a slot.", labels=("model",)
    )
    for worker in status.workers:
        waits.add_metric((worker.model,), worker.num_started, worker.waited_s)
    yield waits


_WORKER_GAUGES = (
    ("mlxd_requests_running", "Requests inside the worker.", "num_active"),
    ("mlxd_requests_queued", "Requests that wait for the model.", "num_queued"),
    ("mlxd_slots", "Requests that the worker takes at once.", "num_slots"),
    ("mlxd_queue_oldest_wait_seconds", "Of the request that has waited longest.", "oldest_wait_s"),
    ("mlxd_worker_memory_bytes", "Resident memory.", "memory_bytes"),
    ("mlxd_worker_gpu_memory_bytes", "Of an NVIDIA GPU's memory.", "gpu_memory_bytes"),
)


def _each(status: StatusReply, field: str) -> list[tuple[Labels, float]]:
    return [((worker.model,), getattr(worker, field)) for worker in status.workers]


def _gauge(name: str, what: str, values: Iterable[tuple[Labels, float]], labels: Labels = ()) -> Metric:
    family = GaugeMetricFamily(name, what, labels=labels)
    for key, value in values:
        family.add_metric(key, float(value))
    return family


def _counter(name: str, what: str, labels: Labels, values: Iterable[tuple[Labels, float]]) -> Metric:
    family = CounterMetricFamily(name, what, labels=labels)
    for key, value in values:
        family.add_metric(key, float(value))
    return family


def _histogram(name: str, what: str, labels: Labels, values: Iterable[tuple[Labels, Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, what, labels=labels)
    for key, histogram in values:
        bounds = [*map(str, histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
        family.add_metric(key, buckets, histogram.total)
    return family
