"""Metrics, logs and spans say the same of a request as its answer does."""

import json

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from server.sleeping import Sleeper, sleeping_server
from tetriserve.runtime.observer import Observer
from tetriserve.server.config import ServerConfig
from tetriserve.server.log_config import LogConfig
from tetriserve.server.logs import set_up_logs
from tetriserve.server.spans import trace_calls

PATH = "/v1/images/generations"
BODY = {"prompt": "x", "size": "256x256", "num_inference_steps": 4, "slo_ms": 60_000}


async def post(server: Sleeper, headers: dict[str, str] | None = None, **changes: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        return await client.post(PATH, json=BODY | changes, headers=headers)


async def samples(server: Sleeper) -> dict[tuple[str, str], float]:
    """Value by name and by the labels, joined."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        text = (await client.get("/metrics")).text
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_tell_what_devices_did_and_who_was_not_let_in() -> None:
    async with sleeping_server(ServerConfig(admission="reject")) as server:
        made = await post(server)
        await post(server, slo_ms=1)
        found = await samples(server)
    report = made.json()["tetriserve"]
    busy_s = sum(value for (name, _), value in found.items() if name == "tetriserve_device_busy_seconds_total")
    assert busy_s == pytest.approx(report["gpu_seconds"], abs=0.005)
    assert sum(value for (name, _), value in found.items() if name == "tetriserve_steps_total") == 4
    assert found["tetriserve_chunks_total", "1,encode,done"] == 1
    assert found["tetriserve_rejections_total", "deadline_unmeetable"] == 1
    degree = str(report["degrees"][0])
    steps_measured = found["tetriserve_step_time_ratio_sum", degree] / found["tetriserve_step_time_ratio_count", degree]
    assert 0.9 < steps_measured < 2.0
    assert found["tetriserve_devices", ""] == 2
    assert found["tetriserve_up", ""] == 1
    assert found["tetriserve_requests_waiting", ""] == 0


@pytest.mark.usefixtures("logging_of_pytest")
async def test_a_json_line_for_every_image_with_the_callers_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogConfig(log_format="json"))
    async with sleeping_server(ServerConfig(), failing_ids=("img-2",)) as server:
        made = await post(server, {"X-Request-ID": "order-17"})
        failed = await post(server, {"X-Request-ID": "not\tplain"})
    assert made.headers["x-request-id"] == "order-17"
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    one, other = (line for line in lines if line["logger"] == "tetriserve.requests")
    assert (one["http_request_id"], one["outcome"], one["level"]) == ("order-17", "met", "INFO")
    assert one["degrees"] == made.json()["tetriserve"]["degrees"]
    assert (other["outcome"], other["level"]) == ("failed", "WARNING")
    assert other["http_request_id"] == failed.headers["x-request-id"] != "not\tplain"


@pytest.mark.usefixtures("logging_of_pytest")
async def test_a_line_for_people_says_what_became_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogConfig())
    async with sleeping_server(ServerConfig()) as server:
        await post(server)
    (line,) = capsys.readouterr().err.splitlines()
    assert "256x256: met" in line
    assert "s of 60.000 s" in line


async def test_spans_go_on_a_callers_trace_down_to_the_chunks() -> None:
    exporter = InMemorySpanExporter()
    parent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    async with sleeping_server(ServerConfig()) as server:
        send_last = trace_calls(server.app, server.service.runtime, SimpleSpanProcessor(exporter))
        made = await post(server, {"traceparent": parent})
    send_last()
    spans = exporter.get_finished_spans()
    assert {span.context.trace_id for span in spans} == {int("ab" * 16, 16)}
    (image,) = (span for span in spans if span.name == "image")
    below = [span for span in spans if span.parent is not None and span.parent.span_id == image.context.span_id]
    assert {span.name for span in below} == {"encode", "denoise", "decode"}
    assert sum(_attribute(span, "tetriserve.num_steps") for span in below if span.name == "denoise") == 4
    assert image.attributes is not None
    assert image.attributes["tetriserve.gpu_seconds"] == pytest.approx(
        made.json()["tetriserve"]["gpu_seconds"], abs=1e-3
    )
    for span in below:
        assert image.start_time <= span.start_time <= span.end_time <= image.end_time + 1_000_000  # type: ignore[operator]


async def test_an_observer_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Observer):
        def ended(self, outcome: object) -> None:
            raise ValueError("broken")

    async with sleeping_server(ServerConfig()) as server:
        server.service.runtime.recorder.observers.append(Broken())
        made = await post(server)
    assert made.status_code == 200
    assert "Broken failed" in caplog.text


def _attribute(span: ReadableSpan, name: str) -> int:
    assert span.attributes is not None
    value = span.attributes[name]
    assert isinstance(value, int)
    return value
