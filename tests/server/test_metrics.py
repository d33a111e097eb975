import httpx
from prometheus_client.parser import text_string_to_metric_families

from server.conftest import RunningServer

NAMES = ("tetriserve_requests_total", "tetriserve_steps_total", "tetriserve_gpu_seconds_total")


def totals(server: RunningServer) -> dict[str, float]:
    """Sums over all labels, and the outcomes one by one."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text):
        for sample in family.samples:
            outcome = sample.labels.get("outcome", "") if sample.name == NAMES[0] else ""
            for key in (sample.name, outcome):
                found[key] = found.get(key, 0.0) + sample.value
    return found


def test_every_ended_request_is_counted_with_what_it_cost(server: RunningServer) -> None:
    before = totals(server)
    server.post(prompt="a red cat", size="64x64", num_inference_steps=3, slo_ms=60_000)
    server.post(prompt="a red cat", size="64x64", num_inference_steps=2, slo_ms=0.001)
    after = totals(server)
    requests, steps, gpu_seconds = (after[name] - before.get(name, 0.0) for name in NAMES)
    assert (requests, steps) == (2, 5)
    assert gpu_seconds > 0
    assert after["tetriserve_decision_seconds_count"] > before.get("tetriserve_decision_seconds_count", 0.0)
    assert after["met"] - before.get("met", 0.0) == 1
    assert after["late"] - before.get("late", 0.0) == 1
    assert after["tetriserve_requests_in_flight"] == 0
