"""OpenTelemetry: a span for every HTTP request, below it one for each image, below that one for each of its chunks.

A caller's own trace goes on in ours (W3C `traceparent`). The libraries are the extra `otel`.
"""

import time
from collections.abc import Callable

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.util.types import AttributeValue

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.runtime.observer import Observer
from tetriserve.runtime.records import ChunkState
from tetriserve.runtime.runtime import Runtime

TRACES_PATH = "/v1/traces"
NOT_TRACED = "/health,/metrics"


def exporting_to(endpoint: str) -> SpanProcessor:
    """Sends spans to a collector, in batches and on a thread of its own."""
    return BatchSpanProcessor(OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH))


def trace_calls(app: FastAPI, runtime: Runtime, processor: SpanProcessor) -> Callable[[], None]:
    """Give `app` spans. What comes back sends the last of them."""
    provider = TracerProvider(resource=Resource.create({"service.name": "tetriserve"}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    runtime.recorder.observers.append(ImageSpans(provider.get_tracer("tetriserve")))
    app.add_middleware(OpenTelemetryMiddleware, excluded_urls=NOT_TRACED, tracer_provider=provider)
    return provider.shutdown


class ImageSpans(Observer):
    """Turns what the runtime tells into spans."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._unix_s = time.time() - time.monotonic()
        self._open: dict[str, trace.Span] = {}

    def arrived(self, request: Request) -> None:
        """Begin a span below whatever span its caller is in."""
        attributes: dict[str, AttributeValue] = {
            "tetriserve.request_id": request.request_id,
            "tetriserve.size": str(request.size),
            "tetriserve.num_inference_steps": request.num_inference_steps,
            "tetriserve.slo_s": request.slo_s,
        }
        start_ns = self._ns(request.arrival_s)
        self._open[request.request_id] = self._tracer.start_span("image", attributes=attributes, start_time=start_ns)

    def chunk_ended(self, chunk: Chunk, state: ChunkState, begin_s: float, end_s: float) -> None:
        """A span for each image in it."""
        attributes: dict[str, AttributeValue] = {
            "tetriserve.chunk_id": chunk.chunk_id,
            "tetriserve.devices": chunk.devices,
            "tetriserve.batch": len(chunk.request_ids),
            "tetriserve.state": str(state),
        }
        if chunk.stage is Stage.DENOISE:
            attributes["tetriserve.num_steps"] = chunk.num_steps
        for request_id in chunk.request_ids:
            below = trace.set_span_in_context(self._open[request_id])
            span = self._tracer.start_span(str(chunk.stage), below, attributes=attributes, start_time=self._ns(begin_s))
            if state is not ChunkState.DONE:
                span.set_status(trace.StatusCode.ERROR)
            span.end(self._ns(end_s))

    def ended(self, outcome: Outcome) -> None:
        """Say what became of it."""
        span = self._open.pop(outcome.request.request_id)
        span.set_attribute("tetriserve.outcome", outcome.word)
        span.set_attribute("tetriserve.gpu_seconds", outcome.gpu_seconds)
        span.set_attribute("tetriserve.queue_s", outcome.queue_s)
        if outcome.word == "failed":
            span.set_status(trace.StatusCode.ERROR, outcome.error)
        span.end(self._ns(outcome.finished_s))

    def _ns(self, at_s: float) -> int:
        return int((at_s + self._unix_s) * 1e9)
