"""The JSON of a simulation."""

import json

from scheduler.builders import make_cost
from sim.test_simulate import mixed
from tetriserve.sim.results import run_row, schedule_rows
from tetriserve.sim.simulate import simulate

RESULT = simulate(make_cost(8, 0.01, 0.02), mixed(30), "tetriserve", 8)


def test_a_row_has_exactly_these_fields() -> None:
    row = run_row("tetriserve", RESULT)
    assert list(row) == [
        "policy",
        "sar",
        "num_requests",
        "mean_latency_s",
        "p50_latency_s",
        "p99_latency_s",
        "gpu_seconds_per_image",
        "gpu_utilization",
        "by_size",
        "decision_ms",
    ]
    assert list(row["by_size"]) == ["256x256", "512x512", "1024x1024"]
    assert set(row["by_size"]["256x256"]) == {"sar", "mean_latency_s", "num_requests"}
    assert 0 < row["decision_ms"]["p50"] <= row["decision_ms"]["p99"]


def test_without_decision_times_equal_seeds_give_equal_bytes() -> None:
    again = simulate(make_cost(8, 0.01, 0.02), mixed(30), "tetriserve", 8)
    first, second = (json.dumps(run_row("tetriserve", result, timing=False)) for result in (RESULT, again))
    assert first == second
    assert json.loads(first)["decision_ms"] is None


def test_the_schedule_holds_every_request_and_chunk() -> None:
    rows = schedule_rows("tetriserve", RESULT)
    assert len(rows["requests"]) == 30
    assert len(rows["chunks"]) == len(RESULT.chunks)
    worked_s = sum((chunk["finished_s"] - chunk["started_s"]) * len(chunk["devices"]) for chunk in rows["chunks"])
    assert abs(worked_s - sum(request["gpu_seconds"] for request in rows["requests"])) < 1e-6
    assert json.loads(json.dumps(rows)) == rows
