"""`GET /metrics` in Prometheus' format: what became of every request, and what it cost. A registry for each server."""

from collections import Counter as Count

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tetriserve.core.outcome import Outcome
from tetriserve.runtime.runtime import Runtime

SECONDS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 60.0)
SLACK_SECONDS = (-30.0, -10.0, -3.0, -1.0, -0.3, -0.1, 0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class ServerMetrics:
    """Counts outcomes as the runtime tells them."""

    def __init__(self, runtime: Runtime) -> None:
        self.registry = CollectorRegistry()
        self._outcomes = Counter(
            "tetriserve_requests", "Ended requests", ["size", "outcome"], registry=self.registry
        )  # exposed as tetriserve_requests_total
        self._latency = Histogram(
            "tetriserve_latency_seconds", "Arrival to image", ["size"], buckets=SECONDS, registry=self.registry
        )
        self._slack = Histogram(
            "tetriserve_slack_seconds",
            "Deadline minus image; late ones are negative",
            buckets=SLACK_SECONDS,
            registry=self.registry,
        )
        self._queue = Histogram(
            "tetriserve_queue_seconds", "Arrival to first chunk", buckets=SECONDS, registry=self.registry
        )
        self._gpu_seconds = Counter("tetriserve_gpu_seconds", "Device seconds spent", ["size"], registry=self.registry)
        self._steps = Counter("tetriserve_steps", "Denoising steps by degree", ["degree"], registry=self.registry)
        in_flight = Gauge("tetriserve_requests_in_flight", "Accepted, not ended", registry=self.registry)
        in_flight.set_function(lambda: runtime.num_in_flight)
        runtime.observers.append(self.observe)

    def observe(self, outcome: Outcome) -> None:
        """Count one ended request."""
        size = str(outcome.request.size)
        self._outcomes.labels(size, _word(outcome)).inc()
        self._gpu_seconds.labels(size).inc(outcome.gpu_seconds)
        self._queue.observe(outcome.queue_s)
        for degree, count in Count(outcome.degrees).items():
            self._steps.labels(str(degree)).inc(count)
        if outcome.error is None:
            self._latency.labels(size).observe(outcome.latency_s)
            self._slack.observe(outcome.request.deadline_s - outcome.finished_s)


def metrics_route(metrics: ServerMetrics) -> APIRouter:
    """The route; like /health it needs no key."""
    router = APIRouter(tags=["server"])

    @router.get("/metrics", response_class=Response)
    async def exposition() -> Response:
        """All metrics of this server."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _word(outcome: Outcome) -> str:
    if outcome.cancelled:
        return "cancelled"
    if outcome.error is not None:
        return "failed"
    return "met" if outcome.met_deadline else "late"
