"""Whole rounds of the policy: who gets what, and where."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost, make_request, make_request_view, make_view, run
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.scheduler.checks import check_plan
from tetriserve.scheduler.config import SchedulerConfig, TetriServeConfig
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate
from tetriserve.scheduler.policies.tetriserve.capacity import fits, usable
from tetriserve.scheduler.policies.tetriserve.placement import Demand, place
from tetriserve.scheduler.policies.tetriserve.rounds import Running, round_length_s, tetriserve
from tetriserve.scheduler.view import RequestView, View

Given = dict[str, tuple[tuple[int, ...], int]]
ROUND_S = 0.3  # five steps of 60 ms


def plan(view: View, memory: Running | None = None, **config: Any) -> tuple[Given, float | None, Running | None]:
    """The plan by request id: (devices, steps); the plan's wake-up; the memory. Without batches: see test_batching."""
    config.setdefault("batching", False)
    made, memory = tetriserve(view.cost, view.num_devices, TetriServeConfig(**config))(view, memory)
    check_plan(made, view)
    return {a.request_ids[0]: (a.devices, a.num_steps) for a in made.assignments}, made.wake_s, memory


def test_round_length() -> None:
    assert round_length_s(make_cost(8), TetriServeConfig()) == pytest.approx(5 * 0.06)
    assert round_length_s(make_cost(2), TetriServeConfig(step_granularity=2)) == pytest.approx(2 * 0.21)
    assert round_length_s(make_cost(8), TetriServeConfig(largest_size=MEDIUM)) == pytest.approx(5 * 0.025)
    assert round_length_s(make_cost(8), TetriServeConfig(round_s=0.1)) == 0.1


@pytest.mark.parametrize(
    "wrong", [{"step_granularity": 0}, {"round_s": 0.0}, {"round_s": float("nan")}, {"slip": 1.0}, {"slip": -0.1}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        TetriServeConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"ahead_s": -1.0}, {"ahead_s": float("inf")}, {"max_losses": 0}])
def test_scheduler_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        SchedulerConfig(**wrong)


def test_the_worked_example_of_the_documentation() -> None:
    requests = [
        make_request_view("large", LARGE, 10, 1.0),
        make_request_view("medium", MEDIUM, 10, 0.7),
        make_request_view("small", SMALL, 10, 1.0),
        make_request_view("late", MEDIUM, 10, 0.1),
    ]
    needed, _, _ = plan(make_view(requests), elastic=False)
    assert {id_: (len(devices), steps) for id_, (devices, steps) in needed.items()} == {
        "large": (4, 2),
        "medium": (1, 3),
        "small": (1, 10),
        "late": (1, 3),
    }
    given_, wake_s, memory = plan(make_view(requests))
    assert given_ == {"large": ((0, 1, 2, 3), 2), "medium": ((4, 5), 6), "small": ((6, 7), 10)}
    assert wake_s == pytest.approx(0.27)
    assert memory.devices == frozenset(range(8))


def test_a_lone_request_gets_the_machine_as_far_as_it_helps() -> None:
    assert plan(make_view([make_request_view("a", LARGE, 10, 9.0)]))[0] == {"a": (tuple(range(8)), 5)}
    assert plan(make_view([make_request_view("a", SMALL, 10, 9.0)]))[0] == {"a": ((0, 1, 2, 3), 10)}


def test_without_elastic_a_request_gets_what_it_needs() -> None:
    assert plan(make_view([make_request_view("a", MEDIUM, 10, 9.0)]), elastic=False)[0] == {"a": ((0,), 3)}


def test_the_round_is_over_when_its_last_chunk_ends() -> None:
    _, wake_s, memory = plan(make_view([make_request_view("a", SMALL, 10, 9.0)], ahead_s=0.005))
    assert memory.end_s == pytest.approx(10 * 0.017)
    assert wake_s == pytest.approx(0.165)


def test_inside_a_round_only_idle_devices_get_work_that_ends_with_it() -> None:
    busy = dict.fromkeys(range(4), 0.3)
    view = make_view([make_request_view("new", LARGE, 10, 9.0)], 8, busy, now_s=0.1)
    given_, wake_s, memory = plan(view, Running(0.3, frozenset(range(4))))
    assert given_ == {"new": ((4, 5, 6, 7), 1)}
    assert wake_s == pytest.approx(0.3)
    assert memory == Running(0.3, frozenset(range(8)))


def test_inside_a_round_nothing_starts_without_backfill() -> None:
    view = make_view([make_request_view("new", LARGE, 10, 9.0)], 8, {0: 0.3}, now_s=0.1)
    assert plan(view, Running(0.3, frozenset({0})), backfill=False)[0] == {}


def test_inside_a_round_nothing_starts_that_would_outlast_it() -> None:
    view = make_view([make_request_view("new", LARGE, 10, 9.0)], 8, {0: 0.3}, now_s=0.25)
    assert plan(view, Running(0.3, frozenset({0})))[0] == {}


def test_a_busy_device_is_not_part_of_the_round() -> None:
    """Device 0 decodes: there is no block of eight, and none of four in its half."""
    view = make_view([make_request_view("a", LARGE, 10, 0.65)], 8, {0: 0.2})
    assert plan(view)[0] == {"a": ((4, 5, 6, 7), 2)}


def test_a_device_that_is_a_little_late_still_is() -> None:
    view = make_view([make_request_view("a", LARGE, 10, 0.65)], 8, {0: 0.01})
    given_, _, memory = plan(view)
    assert given_ == {"a": (tuple(range(8)), 5)}
    assert memory.end_s == pytest.approx(0.01 + ROUND_S)


def test_a_request_in_flight_is_not_planned_again() -> None:
    view = make_view([make_request_view("a", LARGE, 10, 9.0, ready_s=0.2)], 8, {0: 0.2})
    assert plan(view)[0] == {}


def test_a_late_request_gets_nothing_that_somebody_on_time_can_use() -> None:
    requests = [make_request_view("late", LARGE, 10, 0.1), make_request_view("on-time", LARGE, 10, 9.0)]
    assert set(plan(make_view(requests))[0]) == {"on-time"}


def test_a_late_request_gets_what_nobody_on_time_can_use() -> None:
    requests = [make_request_view("late", LARGE, 10, 0.1), make_request_view("on-time", SMALL, 10, 9.0)]
    given_, _, _ = plan(make_view(requests))
    assert {id_: len(devices) for id_, (devices, _) in given_.items()} == {"on-time": 4, "late": 4}


def test_without_elastic_a_late_request_gets_one_device() -> None:
    given_, _, _ = plan(make_view([make_request_view("late", MEDIUM, 10, 0.1)]), elastic=False)
    assert given_ == {"late": ((0,), 3)}


def test_no_step_fits_into_the_round_and_yet_it_runs() -> None:
    requests = [make_request_view("a", LARGE, 10, 0.61), make_request_view("b", LARGE, 10, 0.1)]
    assert plan(make_view(requests[:1]), round_s=0.05)[0] == {"a": (tuple(range(8)), 1)}
    assert plan(make_view(requests[1:]), round_s=0.05)[0] == {"b": ((0,), 1)}


def test_tight_requests_are_saved_rather_than_the_large_one() -> None:
    """Four small ones can still make it if each gets a device now; then the large one can't have eight."""
    tight = [make_request_view(f"s{i}", SMALL, 20, 0.42) for i in range(4)]
    given_, _, _ = plan(make_view([*tight, make_request_view("large", LARGE, 10, 0.62)]), elastic=False)
    assert {f"s{i}" for i in range(4)} <= set(given_)


def test_a_request_keeps_its_devices() -> None:
    requests = [
        make_request_view("a", MEDIUM, 10, 0.5, last=(6, 7)),
        make_request_view("b", MEDIUM, 10, 0.5, last=(2, 3)),
    ]
    given_, _, _ = plan(make_view(requests), elastic=False)
    assert given_["a"][0] == (6, 7)
    assert given_["b"][0] == (2, 3)


def test_growing_and_shrinking_stays_where_it_was() -> None:
    assert place([Demand("a", 4, (6, 7))], range(8), 8) == {"a": (4, 5, 6, 7)}
    assert place([Demand("a", 2, (4, 5, 6, 7))], range(8), 8) == {"a": (4, 5)}


def test_nobody_loses_its_place_to_somebody_who_moves() -> None:
    demands = [Demand("grown", 2, (2,)), Demand("kept", 2, (2, 3))]
    assert place(demands, range(4), 4) == {"kept": (2, 3), "grown": (0, 1)}


def test_without_placement_blocks_are_taken_from_the_first() -> None:
    assert place([Demand("a", 2, (6, 7))], range(8), 8, preserve=False) == {"a": (0, 1)}


def test_switching_costs_less_with_placement() -> None:
    requests = [make_request(f"r{i}", MEDIUM, 28, 0.2 * i, 30.0) for i in range(6)]
    moves = []
    for placement in (True, False):
        config = SchedulerConfig(tetriserve=TetriServeConfig(placement=placement))
        result, _ = run(requests, cost=make_cost(8, switch_s=0.01), config=config)
        moves.append(sum(outcome.latency_s for outcome in result.outcomes))
    assert moves[0] <= moves[1]


REQUESTS = st.lists(
    st.tuples(st.sampled_from([SMALL, MEDIUM, LARGE]), st.integers(1, 28), st.floats(0.05, 3.0)),
    min_size=1,
    max_size=10,
).map(lambda drawn: [make_request_view(f"r{i}", *one) for i, one in enumerate(drawn)])
BUSY = st.dictionaries(st.integers(0, 7), st.just(9.0), max_size=6)


@given(REQUESTS, BUSY)
@settings(max_examples=150, deadline=None)
def test_no_device_is_idle_that_somebody_could_use(requests: list[RequestView], busy: dict[int, float]) -> None:
    """Nobody waits who could start a step that ends in the round; nobody's degree could be doubled to its gain."""
    view = make_view(requests, 8, busy)
    given_, _, _ = plan(view)
    degrees = [len(devices) for devices, _ in given_.values()]
    limits = usable(view.available(), 8)
    for request in requests:
        step_s = StepCurve.of(request.size, view.cost, 8).step_s
        if request.request_id not in given_:
            fitting = [degree for degree, seconds in step_s.items() if seconds <= ROUND_S]
            assert not any(fits([*degrees, degree], limits) for degree in fitting)
            continue
        degree = len(given_[request.request_id][0])
        if degree < 8 and step_s[degree * 2] < step_s[degree]:
            others = list(degrees)
            others.remove(degree)
            assert not fits([*others, degree * 2], limits)


@given(REQUESTS, BUSY)
@settings(max_examples=150, deadline=None)
def test_late_requests_take_nothing_from_those_on_time(requests: list[RequestView], busy: dict[int, float]) -> None:
    """Take the late ones away, and nobody on time gets more."""
    view = make_view(requests, 8, busy)
    curve = {request.size: StepCurve.of(request.size, view.cost, 8) for request in requests}
    on_time = [r for r in requests if not Candidate.of(r, curve[r.size], 0.0).is_late]
    with_late, _, _ = plan(view)
    without, _, _ = plan(make_view(on_time, 8, busy))
    for request in on_time:
        id_ = request.request_id
        assert (id_ in with_late) == (id_ in without)
        if id_ in without:
            assert len(with_late[id_][0]) == len(without[id_][0])


@given(REQUESTS, BUSY)
@settings(max_examples=100, deadline=None)
def test_nothing_but_a_single_step_outlasts_the_round(requests: list[RequestView], busy: dict[int, float]) -> None:
    view = make_view(requests, 8, busy)
    for config in ({}, {"elastic": False}):
        given_, _, _ = plan(view, **config)
        for request in requests:
            if request.request_id in given_:
                devices, steps = given_[request.request_id]
                step_s = view.cost.step_s(request.size, len(devices))
                assert steps == 1 or steps * step_s <= ROUND_S + 1e-6


def test_sizes_between_the_profiled_ones_are_planned_too() -> None:
    assert plan(make_view([make_request_view("a", Size(768, 512), 10, 9.0)]))[0] == {"a": (tuple(range(8)), 9)}
