"""Bounds: above everything that can be done, equal to it where that is easy to see."""

import sys
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bound.brute_force import most_deadlines_met
from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost, make_request, requests_strategy
from tetriserve.bound.options import Option, efficient, step_options
from tetriserve.bound.solve import fractional_bound, hindsight_bound
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.cost.deadline import PAPER_SLO_S
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.metrics.attainment import slo_attainment
from tetriserve.scheduler.policies import POLICIES
from tetriserve.sim.simulate import simulate
from tetriserve.workload.generate import WorkloadConfig, generate
from tetriserve.workload.mixes import parse_mix

NEAR = 1e-5


def paper_requests(mix: str, rate_per_min: float, seed: int = 0) -> list[Request]:
    config = WorkloadConfig(parse_mix(mix, tuple(PAPER_SLO_S)), rate_per_min=rate_per_min, seed=seed)
    return [entry.to_request() for entry in generate(config, PAPER_SLO_S.__getitem__)]


def paper_cost(name: str = "eager") -> CostModel:
    return CostModel(load_profile(f"flux1-dev.h100.{name}"), 8)


def bounds(cost: CostModel, requests: Sequence[Request], num_devices: int) -> tuple[float, float]:
    return fractional_bound(cost, requests, num_devices).sar, hindsight_bound(cost, requests, num_devices).sar


tiny = st.lists(
    st.tuples(
        st.sampled_from([SMALL, MEDIUM, LARGE]),
        st.integers(1, 2),
        st.sampled_from([0.0, 0.05]),
        st.sampled_from([0.04, 0.09, 0.12, 0.2, 0.45, 0.9]),
    ),
    min_size=1,
    max_size=3,
).map(
    lambda drawn: [
        make_request(f"r{index}", size, steps, arrival_s, slo_s)
        for index, (size, steps, arrival_s, slo_s) in enumerate(drawn)
    ]
)


@settings(max_examples=25, deadline=None)
@given(requests=tiny, num_devices=st.sampled_from([1, 2, 4]), stage_s=st.sampled_from([0.0, 0.01]))
def test_no_schedule_beats_the_bounds(requests: list[Request], num_devices: int, stage_s: float) -> None:
    """Exhaustive search over all schedules <= whole requests <= fractions of requests."""
    cost = make_cost(num_devices, stage_s, stage_s)
    fractional, hindsight = bounds(cost, requests, num_devices)
    possible = most_deadlines_met(cost, requests, num_devices) / len(requests)
    assert possible <= hindsight <= fractional + NEAR
    for policy in ("fixed-sp1", "tetriserve"):
        assert slo_attainment(simulate(cost, requests, policy, num_devices).outcomes) <= possible + NEAR


@settings(max_examples=25, deadline=None)
@given(requests=requests_strategy())
def test_no_policy_beats_the_bounds(requests: list[Request]) -> None:
    cost = make_cost(8, 0.01, 0.02, 0.001)
    fractional, hindsight = bounds(cost, requests, 8)
    assert hindsight <= fractional + NEAR
    for policy in POLICIES:
        assert slo_attainment(simulate(cost, requests, policy, 8).outcomes) <= hindsight, policy


@pytest.mark.parametrize("mix", ["uniform", "skewed"])
def test_no_policy_beats_the_bound_on_the_published_workload(mix: str) -> None:
    cost, requests = paper_cost(), paper_requests(mix, 18)[:120]
    bound = fractional_bound(cost, requests, 8).sar
    assert 0.8 < bound < 1
    assert all(slo_attainment(simulate(cost, requests, policy, 8).outcomes) <= bound for policy in POLICIES)


@pytest.mark.parametrize(("slo_s", "possible"), [(0.26, 1.0), (0.24, 0.0)])
def test_steps_of_one_request_do_not_run_side_by_side(slo_s: float, possible: float) -> None:
    """Ten steps of 25 ms at the fastest degree; sixteen devices don't make it faster than eight."""
    requests = [make_request("a", MEDIUM, 10, slo_s=slo_s)]
    assert hindsight_bound(make_cost(16), requests, 16).sar == possible


def test_a_fraction_counts_as_a_fraction() -> None:
    """In 0.2 s of the 0.25 s it needs, four fifths of a request are served."""
    requests = [make_request("a", MEDIUM, 10, slo_s=0.2)]
    assert fractional_bound(make_cost(8), requests, 8).sar == pytest.approx(0.8, abs=NEAR)


def test_devices_are_shared() -> None:
    """One device, 1 s, two images of 0.8 s: one whole image, or five quarters."""
    requests = [make_request(name, MEDIUM, 10, slo_s=1.0) for name in "ab"]
    assert bounds(make_cost(1), requests, 1) == (pytest.approx(0.625, abs=NEAR), 0.5)


def test_stages_take_their_time() -> None:
    requests = [make_request("a", MEDIUM, 10, slo_s=0.3)]
    assert hindsight_bound(make_cost(8, 0.02, 0.02), requests, 8).sar == 1.0
    assert hindsight_bound(make_cost(8, 0.03, 0.03), requests, 8).sar == 0.0


def test_batches_count_at_their_cheapest() -> None:
    """Two small images of ten steps: 0.4 s alone, 0.3 s together, on one device."""
    requests = [make_request(name, SMALL, 10, slo_s=0.31) for name in "ab"]
    assert Option(0.03, 0.015) in step_options(make_cost(1), SMALL)
    assert hindsight_bound(make_cost(1), requests, 1).sar == 1.0


def test_only_efficient_options_count() -> None:
    options = [Option(1, 8), Option(2, 6), Option(3, 5.5), Option(4, 2), Option(5, 3), Option(1, 9)]
    assert efficient(options) == (Option(1, 8), Option(4, 2))
    assert efficient([Option(1, 8), Option(2, 4), Option(4, 2)]) == (Option(1, 8), Option(2, 4), Option(4, 2))


def test_three_hundred_requests_take_seconds() -> None:
    requests = paper_requests("skewed", 24)
    begin = time.perf_counter()
    fractional_bound(paper_cost(), requests, 8)
    assert time.perf_counter() - begin < 5, "0.2 s on an idle machine"


def test_a_time_limit_still_gives_a_bound() -> None:
    cost, requests = paper_cost(), paper_requests("skewed", 24)
    stopped = hindsight_bound(cost, requests, 8, 0.2)
    assert not stopped.complete
    assert slo_attainment(simulate(cost, requests, "tetriserve", 8).outcomes) <= stopped.sar <= 1.0
    with pytest.raises(ConfigurationError, match="time limit is 0"):
        hindsight_bound(cost, requests, 8, 0)


def test_nothing_to_do_is_done_in_time() -> None:
    assert bounds(make_cost(1), [], 1) == (1.0, 1.0)


def test_without_scipy_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigurationError, match=r"tetriserve\[bound\]"):
        fractional_bound(make_cost(1), [make_request()], 1)
