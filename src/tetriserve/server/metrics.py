"""`GET /metrics` in Prometheus' format: what became of every request, what it cost, what the devices did.

A registry for each server. The dashboard and the alert rules in `deploy/` are made of these names.
"""

from collections import Counter as Count
from functools import cache
from itertools import pairwise

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.runtime.observer import Observer
from tetriserve.runtime.records import ChunkState
from tetriserve.server.context import Context
from tetriserve.server.errors import RejectedError

SECONDS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 60.0)
SLACK_SECONDS = (-30.0, -10.0, -3.0, -1.0, -0.3, -0.1, 0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
DECISION_SECONDS = tuple(
    ms / 1e3 for ms in (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)
)
RATIOS = (0.5, 0.8, 0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0)


class ServerMetrics(Observer):
    """Counts what the runtime tells."""

    def __init__(self, context: Context) -> None:
        self.registry = CollectorRegistry()
        self._requests = RequestMetrics(self.registry)
        self._devices = DeviceMetrics(self.registry, context.service.cost)
        self._rejections = Counter(
            "tetriserve_rejections", "Calls that were not let in", ["code"], registry=self.registry
        )
        self._decisions = Histogram(
            "tetriserve_decision_seconds", "Planning", buckets=DECISION_SECONDS, registry=self.registry
        )
        runtime = context.service.runtime
        gauges = {
            "tetriserve_requests_in_flight": ("Accepted, not ended", lambda: runtime.num_in_flight),
            "tetriserve_requests_waiting": ("Accepted, nothing begun", lambda: runtime.recorder.num_waiting),
            "tetriserve_devices": ("Devices in use or idle", lambda: runtime.executor.num_devices),
            "tetriserve_up": ("1 while requests can be served", lambda: runtime.failure is None),
        }
        for name, (meaning, read) in gauges.items():
            Gauge(name, meaning, registry=self.registry).set_function(read)
        runtime.recorder.observers.append(self)
        context.gate.on_rejection.append(self._rejected)

    def arrived(self, request: Request) -> None:
        """Its chunks will name it by its id only."""
        self._devices.sizes[request.request_id] = request.size

    def chunk_ended(self, chunk: Chunk, state: ChunkState, begin_s: float, end_s: float) -> None:
        """Count what devices did."""
        self._devices.count(chunk, state, max(0.0, end_s - begin_s))

    def ended(self, outcome: Outcome) -> None:
        """Count what became of a request."""
        del self._devices.sizes[outcome.request.request_id]
        self._requests.count(outcome)

    def decided(self, seconds: float) -> None:
        """Count what planning took."""
        self._decisions.observe(seconds)

    def _rejected(self, error: RejectedError) -> None:
        self._rejections.labels(error.code).inc()


class RequestMetrics:
    """What became of requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        outcomes = Counter(
            "tetriserve_requests", "Ended requests", ["size", "outcome"], registry=registry
        )  # exposed as tetriserve_requests_total
        latency = Histogram(
            "tetriserve_latency_seconds", "Arrival to image", ["size"], buckets=SECONDS, registry=registry
        )
        self._slack = Histogram(
            "tetriserve_slack_seconds",
            "Deadline minus image; late ones are negative",
            buckets=SLACK_SECONDS,
            registry=registry,
        )
        self._lateness = Histogram(
            "tetriserve_lateness_seconds", "Image minus deadline, of late ones", buckets=SECONDS, registry=registry
        )
        self._queue = Histogram(
            "tetriserve_queue_seconds", "Arrival to first chunk", buckets=SECONDS, registry=registry
        )
        gpu_seconds = Counter("tetriserve_gpu_seconds", "Device seconds spent", ["size"], registry=registry)
        steps = Counter("tetriserve_steps", "Denoising steps by degree", ["degree"], registry=registry)
        self._switches = Counter(
            "tetriserve_degree_switches", "Steps at another degree than the one before", registry=registry
        )
        # Finding a child by its labels takes longer than counting.
        self._outcomes, self._latency = cache(outcomes.labels), cache(latency.labels)
        self._gpu_seconds, self._steps = cache(gpu_seconds.labels), cache(steps.labels)

    def count(self, outcome: Outcome) -> None:
        """One ended request."""
        size = str(outcome.request.size)
        self._outcomes(size, outcome.word).inc()
        self._gpu_seconds(size).inc(outcome.gpu_seconds)
        self._queue.observe(outcome.queue_s)
        for degree, count in Count(outcome.degrees).items():
            self._steps(degree).inc(count)
        self._switches.inc(sum(one != other for one, other in pairwise(outcome.degrees)))
        if outcome.error is None:
            slack_s = outcome.request.due_s - outcome.finished_s
            self._latency(size).observe(outcome.latency_s)
            self._slack.observe(slack_s)
            if slack_s < 0:
                self._lateness.observe(-slack_s)


class DeviceMetrics:
    """What devices did. `sizes` are those of the requests that have not ended."""

    def __init__(self, registry: CollectorRegistry, cost: CostModel) -> None:
        self.sizes: dict[str, Size] = {}
        self._cost = cost
        busy = Counter("tetriserve_device_busy_seconds", "Seconds in chunks", ["device"], registry=registry)
        chunks = Counter(
            "tetriserve_chunks", "Ended chunks; batch: requests in it", ["stage", "batch", "state"], registry=registry
        )
        step_ratio = Histogram(
            "tetriserve_step_time_ratio",
            "Measured over predicted time of a chunk's steps",
            ["degree"],
            buckets=RATIOS,
            registry=registry,
        )
        self._busy, self._chunks = cache(busy.labels), cache(chunks.labels)
        self._step_ratio = cache(step_ratio.labels)

    def count(self, chunk: Chunk, state: ChunkState, duration_s: float) -> None:
        """One ended chunk."""
        for device in chunk.devices:
            self._busy(device).inc(duration_s)
        self._chunks(chunk.stage, len(chunk.request_ids), state).inc()
        if chunk.stage is Stage.DENOISE and state is ChunkState.DONE:
            predicted_s = self._cost.chunk_s(chunk, self.sizes[chunk.request_ids[0]])
            self._step_ratio(chunk.degree).observe(duration_s / predicted_s)


def metrics_route(metrics: ServerMetrics) -> APIRouter:
    """The route; like /health it needs no key."""
    router = APIRouter(tags=["server"])

    @router.get("/metrics", response_class=Response)
    async def exposition() -> Response:
        """All metrics of this server."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
