"""Can this be met? What the scheduler answers, and whether it was right."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.builders import (
    LARGE,
    MEDIUM,
    SMALL,
    make_cost,
    make_request,
    make_request_view,
    make_scheduler,
    make_view,
    requests_strategy,
)
from tetriserve.core.events import Arrived
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.admission import RESERVE, foresee
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.sim.executor import Faults
from tetriserve.sim.simulate import Simulation, SimulationResult


def test_on_an_idle_machine_it_takes_its_fastest_time() -> None:
    found = foresee(make_view([]), [make_request("a", LARGE, 10, slo_s=0.7)])
    assert found.finished_s == pytest.approx(0.6)
    assert found.can_be_met


def test_an_image_must_be_there_early_enough_to_be_delivered() -> None:
    request = make_request("a", LARGE, 10, slo_s=0.7)
    assert foresee(make_view([]), [replace(request, delivery_s=0.05)]).can_be_met
    assert not foresee(make_view([]), [replace(request, delivery_s=0.2)]).can_be_met


def test_it_waits_for_busy_devices() -> None:
    view = make_view([], busy=dict.fromkeys(range(8), 2.0))
    found = foresee(view, [make_request("a", LARGE, 10, slo_s=1.0)])
    assert found.finished_s == pytest.approx(2.0 + 0.6 * (1 + RESERVE))
    assert not found.can_be_met


def test_decoding_keeps_a_device_from_the_steps_of_others() -> None:
    view = make_view([], 1)._replace(cost=make_cost(1, encode_s=0.25, decode_s=1.0))
    trio = [make_request(name, SMALL, 1, slo_s=3.0) for name in "abc"]
    found = foresee(view, trio)
    assert found.finished_s > 3.0
    assert not found.can_be_met
    assert foresee(view, trio[:2]).can_be_met


def test_slow_devices_promise_less() -> None:
    view = make_view([])._replace(cautious_slowness=2.0)
    found = foresee(view, [make_request("a", LARGE, 10, slo_s=1.0)])
    assert found.finished_s == pytest.approx(1.2)
    assert not found.can_be_met


def test_whoever_is_due_earlier_goes_first() -> None:
    view = make_view([make_request_view("a", LARGE, 10, deadline_s=0.7)])
    found = foresee(view, [make_request("b", LARGE, 10, slo_s=0.8)])
    assert found.finished_s > 0.6
    assert (found.on_time, found.num_harmed) == (False, 0)
    assert foresee(view, [make_request("b", LARGE, 10, slo_s=1.5)]).can_be_met


def test_a_newcomer_that_would_make_others_late_cannot_be_met() -> None:
    view = make_view([make_request_view("a", LARGE, 10, deadline_s=0.9)])
    found = foresee(view, [make_request("b", LARGE, 10, slo_s=0.7)])
    assert (found.on_time, found.num_harmed, found.can_be_met) == (True, 1, False)


def test_whoever_is_late_may_not_be_made_later() -> None:
    late = make_request_view("a", LARGE, 10, deadline_s=0.5)
    found = foresee(make_view([late]), [make_request("b", LARGE, 10, slo_s=1.0)])
    assert (found.on_time, found.num_harmed, found.can_be_met) == (True, 1, False)
    idle = foresee(make_view([late], 16), [make_request("b", LARGE, 10, slo_s=2.0)])
    assert idle.can_be_met


def test_whoever_should_have_been_there_twice_keeps_nobody_out() -> None:
    newcomer = make_request("b", LARGE, 10, arrival_s=1.0, slo_s=0.7)
    refused, accepted = (
        foresee(make_view([make_request_view("a", LARGE, 10, deadline_s=deadline_s)], now_s=1.0), [newcomer])
        for deadline_s in (0.51, 0.49)
    )
    assert not refused.can_be_met
    assert accepted.can_be_met


def test_several_newcomers_are_met_together_or_not() -> None:
    one, other = make_request("a", LARGE, 10, slo_s=0.9), make_request("b", LARGE, 10, slo_s=0.9)
    assert foresee(make_view([]), [one]).can_be_met
    assert not foresee(make_view([]), [one, other]).can_be_met


def test_stages_count() -> None:
    view = make_view([])._replace(cost=make_cost(8, encode_s=0.1, decode_s=0.2))
    found = foresee(view, [make_request("a", MEDIUM, 10)])
    assert found.finished_s == pytest.approx(0.1 + 10 * 0.025 + 0.2)


@given(requests_strategy(8), st.sampled_from([SMALL, MEDIUM, LARGE]), st.sampled_from([1, 4, 8]))
@settings(max_examples=40, deadline=None)
def test_more_time_never_makes_it_late(requests: list[Request], size: object, num_devices: int) -> None:
    """It may harm others all the same: whoever is in less of a hurry stays longer."""
    scheduler = make_scheduler("default", make_cost(num_devices), num_devices, SchedulerConfig())
    for request in requests:
        scheduler.on(Arrived(replace(request, arrival_s=0.0)), 0.0)
    newcomers = [make_request("new", size, 5, slo_s=slo_s) for slo_s in (0.3, 100.0)]  # type: ignore[arg-type]
    soon, later = (scheduler.foresee([newcomer], 0.0) for newcomer in newcomers)
    assert later.on_time
    assert scheduler.foresee([newcomers[0]], 0.0) == soon


def admit(offered: Sequence[Request], cost: CostModel, num_devices: int, faults: Faults) -> SimulationResult:
    """What becomes of those whom the forecast lets in."""
    scheduler = make_scheduler("default", cost, num_devices, SchedulerConfig())
    simulation = Simulation(cost, num_devices, scheduler, faults)

    def offer(request: Request) -> None:
        if scheduler.foresee([request], simulation.clock.now_s()).can_be_met:
            simulation.arrive(request)

    for request in offered:
        simulation.clock.call_at(request.arrival_s, Arrived.rank, partial(offer, request))
    return simulation.run([])


@pytest.mark.parametrize(("gap_s", "slo_s"), [(0.06, 0.8), (0.06, 4.0), (0.15, 1.5), (0.15, 4.0)])
def test_nearly_everybody_who_is_let_in_is_on_time_however_many_come(gap_s: float, slo_s: float) -> None:
    """Loads above what the machine can do: `default` keeps what the forecast promised."""
    offered = [make_request(f"r{i:03d}", (SMALL, MEDIUM, LARGE)[i % 3], 10, gap_s * i, slo_s) for i in range(200)]
    outcomes = admit(offered, make_cost(8, 0.01, 0.03, 0.002), 8, Faults(0.01, 3)).outcomes
    assert len(outcomes) < 0.95 * len(offered)
    assert sum(one.met_deadline for one in outcomes) >= 0.97 * len(outcomes)


@pytest.mark.parametrize(("slow", "noise_cv"), [(1.0, 0.0), (1.0, 0.3), (1.25, 0.0), (1.25, 0.3)])
def test_ten_times_the_load_delays_nobody_who_was_let_in(slow: float, noise_cv: float) -> None:
    """Much of the work is encoding and decoding, devices are slower than profiled, or vary: no late one is overtaken.

    One image alone takes a device 0.4 s, so 20 s of two devices are enough for 100, and 80 if all is slower.
    """
    cost, carried = make_cost(2, 0.05, 0.15), 100 / slow
    offered = [make_request(f"r{i:04d}", SMALL, 10, 0.02 * i, 2.0) for i in range(1000)]
    outcomes = admit(offered, cost, 2, Faults(noise_cv, 3, slow=dict.fromkeys(range(2), slow))).outcomes
    assert 0.9 * carried < len(outcomes) < 1.15 * carried
    assert sum(one.met_deadline for one in outcomes) >= 0.95 * len(outcomes)
    assert all(one.finished_s < one.request.deadline_s + 1.0 for one in outcomes)
