"""The numbers, on a handful of outcomes that can be counted by hand."""

import json
import math

import pytest

from scheduler.builders import LARGE, SMALL, make_request
from tetriserve.core.outcome import Outcome
from tetriserve.core.size import Size
from tetriserve.metrics.attainment import quantile, report, slo_attainment, summarize


def outcome(size: Size, latency_s: float, gpu_seconds: float = 1.0, error: str | None = None) -> Outcome:
    return Outcome(make_request("a", size, slo_s=2.0), latency_s, 0.5, gpu_seconds, (1,), error, error)


OUTCOMES = [outcome(SMALL, 1.0), outcome(SMALL, 3.0), outcome(LARGE, 2.0, 5.0), outcome(LARGE, 0.1, 9.0, "broken")]


def test_attainment_counts_failures_as_missed() -> None:
    assert slo_attainment(OUTCOMES) == 0.5


def test_cancelled_requests_are_counted_and_judged_by_nobody() -> None:
    summary = summarize([*OUTCOMES, outcome(SMALL, 0.1, error="cancelled")])
    assert (summary.num_requests, summary.num_failed, summary.num_cancelled) == (5, 1, 1)
    assert summary.sar == 0.5
    assert summary.p50_latency_s == 2.0


def test_other_numbers_are_of_those_with_an_image() -> None:
    summary = summarize(OUTCOMES)
    assert (summary.num_requests, summary.num_failed) == (4, 1)
    assert summary.mean_latency_s == pytest.approx(2.0)
    assert summary.p50_latency_s == 2.0
    assert summary.p99_latency_s == 3.0
    assert summary.mean_queue_s == 0.5
    assert summary.gpu_seconds_per_image == pytest.approx(7 / 3)


def test_sizes_come_in_ascending_order() -> None:
    by_size = report(list(reversed(OUTCOMES))).by_size
    assert list(by_size) == ["256x256", "1024x1024"]
    assert by_size["256x256"].sar == 0.5
    assert by_size["1024x1024"].num_requests == 2


def test_json_has_no_nan() -> None:
    assert math.isnan(slo_attainment([]))
    text = json.dumps(report([outcome(SMALL, 1.0, error="broken")]).to_json(), allow_nan=False)
    made = json.loads(text)
    assert made["mean_latency_s"] is None
    assert made["sar"] == made["by_size"]["256x256"]["sar"] == 0.0


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.99, 4), (1.0, 4)])
def test_quantiles(share: float, expected: int) -> None:
    assert quantile([1, 2, 3, 4], share) == expected
    assert math.isnan(quantile([], share))
