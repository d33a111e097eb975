"""The timing wheel answers as looking at everybody would."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.builders import SMALL, STEP_S, make_cost, make_request_view, make_scheduler, requests_strategy, run
from scheduler.scan import Scan, ScannedRequests
from tetriserve.core.size import Size
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.view import RequestView
from tetriserve.scheduler.wheel import FEW, SLOT_S, TimingWheel, Waiting
from tetriserve.sim.executor import Faults
from tetriserve.sim.simulate import Simulation

COST = make_cost()
WAITING = st.lists(
    st.tuples(st.sampled_from(list(STEP_S)), st.integers(1, 12), st.floats(0, 4), st.booleans()), max_size=25
)


def waiting(one: RequestView) -> Waiting:
    return Waiting(one, one.due_s - one.decode_s, one.encode_s + one.remaining_steps * COST.min_step_s(one.size))


@given(WAITING, st.lists(st.floats(0, 1.5), min_size=1, max_size=6), st.floats(0, 1e7))
@settings(max_examples=200, deadline=None)
def test_it_answers_as_a_scan_does(
    drawn: list[tuple[Size, int, float, bool]], gaps_s: list[float], begin_s: float
) -> None:
    wheel, here = TimingWheel(), {}
    views = [
        (make_request_view(f"r{i}", size, steps, begin_s + due_s), leaves)
        for i, (size, steps, due_s, leaves) in enumerate(drawn)
    ]
    now_s = begin_s
    for turn, gap_s in enumerate(gaps_s):
        for view, _ in views[turn :: len(gaps_s)]:
            here[view.request_id] = view
            wheel.add(waiting(view))
        now_s += gap_s
        wheel.turn(now_s)
        scan = Scan(tuple(here.values()), COST, now_s)
        for count in (0, 3, 100):
            assert wheel.first(count) == scan.first(count)
            assert wheel.first_late(count) == scan.first_late(count)
        assert wheel.num_on_time == scan.num_on_time
        for view, leaves in views[turn :: len(gaps_s)]:
            if leaves:
                del here[view.request_id]
                wheel.remove(view.request_id)


def test_who_becomes_late_inside_a_slot_is_late_at_once() -> None:
    wheel = TimingWheel()
    last_start_s = 2.3 * SLOT_S
    wheel.add(waiting(make_request_view("a", SMALL, 1, last_start_s + COST.min_step_s(SMALL))))
    wheel.turn(last_start_s - 1e-4)
    assert wheel.num_on_time == 1
    wheel.turn(last_start_s + 1e-4)
    assert wheel.num_on_time == 0
    assert [one.request_id for one in wheel.first_late(9)] == ["a"]


def test_many_who_become_late_at_once_are_late_in_their_order() -> None:
    wheel = TimingWheel()
    views = [make_request_view(f"r{i:03d}", SMALL, 1 + i % 7, 1.0 + 0.001 * (i % 50)) for i in range(3 * FEW)]
    stays = make_request_view("stays", SMALL, 1, 9.0)
    for view in (*views, stays):
        wheel.add(waiting(view))
    wheel.turn(0.0)
    assert wheel.num_on_time == len(views) + 1
    wheel.turn(2.0)
    assert wheel.first(9) == [stays]
    assert wheel.first_late(999) == sorted(views, key=lambda one: (one.remaining_steps, one.request_id))
    wheel.remove("r100")
    assert len(wheel.first_late(999)) == len(views) - 1


def test_a_turn_looks_only_at_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    monkeypatch.setattr(Waiting, "is_late", lambda one, now_s: looked_at.append(one.view.request_id) or False)
    wheel = TimingWheel()
    for index in range(1000):
        wheel.add(waiting(make_request_view(f"r{index}", SMALL, 1, 1.0 + index * SLOT_S)))
    wheel.turn(1.0)
    assert len(looked_at) <= 2


@given(requests_strategy(), st.sampled_from([1, 4, 8]), st.sampled_from([0.0, 0.3]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_scheduler_decides_the_same_with_a_scan(
    requests: list, num_devices: int, noise_cv: float, lose: bool
) -> None:
    cost, config, faults = make_cost(num_devices, 0.01, 0.03), SchedulerConfig(), Faults(noise_cv, 3)

    def prepare(simulation: Simulation) -> None:
        if lose:
            simulation.clock.call_at(0.4, 0, lambda: simulation.executor.lose_workers((0,)))

    plain, _ = run(requests, "default", num_devices, cost, config, faults, prepare=prepare)
    scheduler = make_scheduler("default", cost, num_devices, config)
    scheduler._pending = ScannedRequests(cost, scheduler._timeline)
    simulation = Simulation(cost, num_devices, scheduler, faults)
    prepare(simulation)
    assert simulation.run(requests) == plain


def test_a_request_added_twice_after_it_left_keeps_its_newer_state() -> None:
    wheel, source = TimingWheel(), random.Random(0)
    view = make_request_view("a", SMALL, 10, 2.0)
    for steps in source.sample(range(1, 11), 5):
        wheel.add(waiting(view._replace(remaining_steps=steps)))
        wheel.turn(0.0)
        assert wheel.first(1)[0].remaining_steps == steps
        wheel.remove("a")
    assert wheel.first(1) == []
