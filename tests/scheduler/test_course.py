"""A plan is followed while nothing happens that it did not foresee, and no longer."""

from dataclasses import replace

import pytest

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost, make_request, make_request_view, make_view, run
from scheduler.scan import Scan
from tetriserve.scheduler.config import DefaultConfig
from tetriserve.scheduler.policies.default import policy
from tetriserve.scheduler.policies.default.course import Course
from tetriserve.scheduler.policies.default.policy import default
from tetriserve.scheduler.view import Assignment, View

TURN = Assignment(("a",), (0, 1), 3)


def world(steps: int = 10, ready_s: float = 0.0, last: tuple[int, ...] = (0, 1)) -> View:
    """At one second; all devices are free but those from 2 on."""
    view = make_view([make_request_view("a", MEDIUM, steps, 9.0, last, ready_s)], 8, dict.fromkeys(range(2, 8), 5.0))
    return view._replace(now_s=1.0)


def test_who_holds_a_block_takes_as_many_steps_again() -> None:
    course = Course.of(2.0, [TURN], ())
    assert course.next_turns(world(), {0, 1}) == [TURN]
    assert course.next_turns(world(steps=2), {0, 1}) == [TURN._replace(num_steps=2)]


def test_a_new_plan_is_made_when_more_is_to_be_decided() -> None:
    course = Course.of(2.0, [TURN], ())
    assert Course.of(1.0, [TURN], ()).next_turns(world(), {0, 1}) is None, "its time is over"
    assert course.next_turns(world(), {0}) is None, "half a block"
    assert course.next_turns(world(), {0, 1, 2}) is None, "a device that nobody holds"
    assert course.next_turns(world(ready_s=1.5), {0, 1}) is None, "not ready"
    assert course.next_turns(world(last=(2, 3)), {0, 1}) is None, "it was elsewhere"
    assert course.next_turns(make_view([])._replace(now_s=1.0), {0, 1}) is None, "it has left"


def test_devices_that_nobody_can_use_need_no_plan() -> None:
    assert Course.of(2.0, [TURN], {2, 3}).next_turns(world(), {0, 1, 2}) == [TURN]
    assert Course.of(2.0, [TURN], {2, 3}).next_turns(world(), {2}) == []


def test_an_arrival_ends_the_course() -> None:
    """The same view, but with another number of changes, is planned anew: the newcomer gets devices."""
    old, new = make_request_view("a", LARGE, 10, 9.0), make_request_view("b", SMALL, 10, 0.3)
    plan_default = default(make_cost(), 8, DefaultConfig())
    _, memory = plan_default(make_view([old]), None)
    both = make_view([old._replace(last_devices=tuple(range(8))), new])
    followed, _ = plan_default(both, memory)
    assert [one.request_ids for one in followed.assignments] == [("a",)]
    assert isinstance(both.pending, Scan)
    planned, _ = plan_default(both._replace(pending=replace(both.pending, num_changes=1)), memory)
    assert ("b",) in [one.request_ids for one in planned.assignments]


def test_most_chunks_need_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calm machine: a request runs to its end on the plan of its arrival."""
    planned = []
    plan_cell = policy.plan_cell
    monkeypatch.setattr(policy, "plan_cell", lambda *args: planned.append(1) or plan_cell(*args))
    result, _ = run([make_request(f"r{i}", LARGE, 30, 10.0 * i, 9.0) for i in range(3)], "default")
    assert len(result.chunks) >= 30
    assert len(planned) <= 3 * 2
    assert all(outcome.met_deadline for outcome in result.outcomes)
