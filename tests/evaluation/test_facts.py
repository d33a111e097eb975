"""What is worked out of raw results, against figures worked out by hand."""

import math
from typing import Any

import pytest

from tetriserve.core.chunk import Stage
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.chunk_facts import as_fast_as, chunk_facts
from tetriserve.evaluation.decisions import decision_ms
from tetriserve.evaluation.images import psnr_db
from tetriserve.evaluation.judge import outcomes
from tetriserve.evaluation.study import Study
from tetriserve.metrics.attainment import slo_attainment


def row(request_id: str, latency_s: float, slo_s: float, degrees: list[int], **more: Any) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "size": "1024x1024",
        "num_steps": len(degrees),
        "arrival_s": 1.0,
        "slo_s": slo_s,
        "latency_s": latency_s,
        "engine_latency_s": latency_s - 0.1,
        "queue_s": 0.0,
        "gpu_seconds": 1.0,
        "degrees": degrees,
        "error_code": None,
        "error": None,
        **more,
    }


def steps(request_id: str, devices: list[int], num_steps: int, started_s: float, finished_s: float) -> dict[str, Any]:
    where = {"stage": "denoise", "request_ids": [request_id], "devices": devices, "num_steps": num_steps}
    return {**where, "started_s": started_s, "finished_s": finished_s, "state": "done"}


def test_chunks_tell_of_busy_devices_of_predictions_and_of_moves(cost: CostModel) -> None:
    size = Size(1024, 1024)
    one, two = cost.step_s(size, 1), cost.step_s(size, 2)
    chunks = [
        steps("a", [0], 2, 0.0, 2 * one * 1.1),
        steps("a", [0], 2, 0.5, 0.5 + 2 * one),
        steps("a", [0, 1], 3, 1.0, 1.0 + 3 * two + 0.004),
        {**steps("a", [0], 0, 3.0, 4.0), "stage": "decode"},
    ]
    document = {"requests": [row("a", 4, 5, [1] * 4 + [2] * 3)], "chunks": chunks, "load": {"num_devices": 2}}
    facts = chunk_facts(document, cost)
    assert facts is not None
    busy_s = 2 * one * 1.1 + 2 * one + 2 * (3 * two + 0.004) + 1.0
    assert facts.utilization == pytest.approx(busy_s / (2 * 4.0))
    assert (facts.moves, facts.degree_changes) == (1, 1)
    assert facts.median_error == pytest.approx(0.004 / (3 * two))
    assert facts.p95_error == pytest.approx(0.1)
    assert facts.move_ms == pytest.approx(4 - 1e3 * 0.1 * one)


def test_a_cell_is_simulated_as_fast_as_its_chunks_were(cost: CostModel) -> None:
    size, small = Size(1024, 1024), Size(256, 256)
    one, two = cost.step_s(size, 1), cost.step_s(size, 2)
    chunks = [
        steps("a", [0], 2, 0.0, 2 * one * 1.1),
        steps("a", [1], 1, 0.0, one * 1.3),
        steps("a", [0], 4, 0.0, 4 * one * 1.2),
        steps("a", [0, 1], 3, 1.0, 1.0 + 3 * two * 0.9),
        *({**steps("a", [0], 0, 3.0, 3.0 + taken_s), "stage": "decode"} for taken_s in (0.1, 0.125, 0.7)),
    ]
    document = {"requests": [row("a", 4, 5, [1])], "chunks": chunks, "load": {"num_devices": 2}}
    paced = as_fast_as(document, cost)
    assert paced.stage_s(Stage.DECODE, size) == pytest.approx(0.125)
    assert paced.stage_s(Stage.DECODE, small) == cost.stage_s(Stage.DECODE, small)
    assert paced.stage_s(Stage.ENCODE, size) == cost.stage_s(Stage.ENCODE, size)
    assert paced.step_s(size, 1) == pytest.approx(1.2 * one)
    assert paced.step_s(size, 2) == pytest.approx(0.9 * two)
    assert paced.step_s(small, 1) == pytest.approx(1.15 * cost.step_s(small, 1))


def test_who_shows_no_chunks_is_not_judged_by_them(cost: CostModel) -> None:
    assert chunk_facts({"requests": [row("a", 1, 1, [1])], "chunks": [], "load": {"num_devices": 2}}, cost) is None


@pytest.mark.parametrize(
    ("scale", "clock", "share"), [(1.0, "client", 1 / 3), (2.0, "client", 2 / 3), (1.0, "simulated", 1.0)]
)
def test_one_run_is_judged_at_every_scale(plain_study: Study, scale: float, clock: Any, share: float) -> None:
    failed = row("c", 0.1, 1.0, [], error_code="500", error="out of memory")
    document = {
        "cell": {"scale": None},
        "requests": [row("a", 0.9, 1.0, [1]), row("b", 1.5, 1.0, [1]), failed],
        "simulated": {"latency_s": {"a": 0.5, "b": 0.9, "c": 1.0}},
    }
    assert slo_attainment(outcomes(document, plain_study, scale, clock)) == pytest.approx(share)


def test_the_engines_clock_stops_before_files_are_made(plain_study: Study) -> None:
    document = {"cell": {"scale": 1.0}, "requests": [row("a", 1.05, 1.0, [1])]}
    assert [one.met_deadline for one in outcomes(document, plain_study, 1.0, "engine")] == [True]


def test_decisions_of_a_cell_are_those_since_it_began() -> None:
    before = {0.001: 10.0, 0.002: 10.0, math.inf: 10.0}
    after = {0.001: 12.0, 0.002: 14.0, math.inf: 14.0}
    found = decision_ms(before, after)
    assert found["count"] == 4
    assert found["p50"] == pytest.approx(1.0)
    assert found["p99"] == pytest.approx(1.98)
    assert decision_ms(after, after) == {"count": 0, "p50": None, "p99": None}


def test_psnr() -> None:
    assert psnr_db(255**2 / 100) == pytest.approx(20)
    assert psnr_db(0) == math.inf
