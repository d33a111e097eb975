"""Steps that are interrupted: where they go on, what there is room for, and what becomes of them after a loss."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.builders import LARGE, SMALL, make_cost, make_request, make_request_view, make_scheduler, make_view, run
from scheduler.driver import Driver
from tetriserve.core.chunk import Stage
from tetriserve.core.events import Arrived, ChunkDone, Tick
from tetriserve.core.steps import GRAIN, MAX_INTERRUPTED, ended_steps, is_cut_point, is_whole
from tetriserve.cost.model import CostModel
from tetriserve.metrics.attainment import slo_attainment
from tetriserve.scheduler.checks import check_plan
from tetriserve.scheduler.config import DefaultConfig, SchedulerConfig
from tetriserve.scheduler.policies.default.counting import least_part, permitted, steps_within
from tetriserve.scheduler.policies.default.policy import default
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.scheduler.view import Assignment, Plan, Policy, View

WITHIN = 2.25
"""Of 3 steps, a quarter of the first is done."""


def scripted(*assignments: Assignment) -> Policy:
    """One after another, as their first request is there with nothing in flight."""
    left = list(assignments)

    def policy(view: View, memory: None) -> tuple[Plan, None]:
        one = view.pending.find(left[0].request_ids[0]) if left else None
        if one is None or set(left[0].devices) - set(view.available()) or one.ready_s > view.now_s:
            return Plan(wake_s=view.now_s + 1), None
        return Plan((left.pop(0),)), None

    return policy


def test_a_request_within_a_step_goes_on_where_it_is() -> None:
    moves = [Assignment(("a",), (0,), 0.5), Assignment(("a",), (1,), 0.5)]
    driver = Driver(Scheduler(scripted(*moves), make_cost(2), 2))
    driver.arrive("a")
    for chunk in driver.chunks:
        driver.done(chunk)
    with pytest.raises(AssertionError, match="within a step, and moved"):
        driver.send(Tick())


def test_on_a_lost_device_a_step_is_taken_again_also_of_who_waits() -> None:
    driver = Driver(Scheduler(scripted(Assignment(("a",), (0, 1), 1.25), Assignment(("a",), (0,), 1)), make_cost(2), 2))
    driver.arrive("a")
    for chunk in driver.chunks:
        driver.done(chunk)
    driver.lose((1,))
    driver.send(Tick())
    again = driver.chunks[-1]
    assert (again.stage, again.first_steps, again.devices) == (Stage.DENOISE, (1,), (0,))


def test_a_lost_chunk_loses_the_part_that_was_done_of_its_step() -> None:
    first, second, third = (Assignment(("a",), devices, num) for devices, num in (((0,), 1.25), ((0,), 0.5), ((1,), 2)))
    driver = Driver(Scheduler(scripted(first, second, third), make_cost(2), 2))
    driver.arrive("a")
    for chunk in driver.chunks:
        driver.done(chunk)
    driver.send(Tick())
    driver.lose((0,), driver.chunks[-1])
    driver.send(Tick())
    assert driver.chunks[-1].first_steps == (1,)


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        (Assignment(("a",), (0,), 0.3), "eighths"),
        (Assignment(("a",), (0,), 0), "not what remains"),
        (Assignment(("within",), (0,), 1), "within a step, and moved"),
        (Assignment(("a", "b"), (0,), 0.5), "a batch that ends within a step"),
        (Assignment(("within", "too"), (2, 3), 0.25), "a batch with one that is within a step"),
        (Assignment(("a",), (2, 3), 0.5), f"where {MAX_INTERRUPTED} others do"),
    ],
)
def test_what_a_policy_may_not_do_within_a_step(assignment: Assignment, complaint: str) -> None:
    views = [make_request_view(name, SMALL, 3) for name in "ab"]
    views += [
        make_request_view(name, SMALL, last=(2, 3))._replace(remaining_steps=WITHIN) for name in ("within", "too")
    ]
    view = make_view(views, 4)._replace(interrupted={2: ("within", "too", "x"), 3: ("within", "too")})
    with pytest.raises(AssertionError, match=complaint):
        check_plan(Plan((assignment,)), view)


def test_who_is_within_a_step_may_stop_there_again_and_others_while_there_is_room() -> None:
    within = make_request_view("within", SMALL, 3, last=(2, 3))._replace(remaining_steps=WITHIN)
    view = make_view([make_request_view("a", SMALL, 3), within], 4)._replace(interrupted={2: ("within", "x", "y")})
    check_plan(Plan((Assignment(("within",), (2, 3), 0.25), Assignment(("a",), (0,), 0.5))), view)


def config(part_s: float) -> SchedulerConfig:
    return SchedulerConfig(ahead_s=0.0, default=DefaultConfig(part_s=part_s, calm_chunk_s=0.1))


def test_default_lets_an_urgent_small_image_go_before_the_rest_of_a_long_step() -> None:
    """A step of 1024x1024 takes 0.4 s on the only device, and 256x256 is to be there in 0.3 s."""
    driver = Driver(make_scheduler("default", make_cost(1), 1, config(0.1)))
    driver.arrive("large", size=LARGE, slo_s=9.0)
    encode, first = driver.chunks
    assert first.num_steps == 0.25
    driver.now_s = 0.05
    driver.send(Arrived(make_request("small", SMALL, 10, 0.05, 0.3)))
    driver.send(Tick())
    driver.now_s = 0.1
    for chunk in (encode, first):
        driver.send(ChunkDone(chunk.chunk_id, 0.0, 0.1))
    driver.send(Tick())
    assert [chunk.request_ids for chunk in driver.chunks[2:4]] == [("small",)] * 2
    for chunk in driver.chunks[2:]:
        driver.done(chunk, 0.1)
    driver.send(Tick())
    resumed = driver.chunks[-1]
    assert (resumed.request_ids, resumed.first_steps) == (("large",), (0.25,))


def test_interruptions_keep_more_requests_on_time() -> None:
    requests = [make_request(f"l{index}", LARGE, 10, 1.0 * index, 12.0) for index in range(8)]
    requests += [make_request(f"s{index}", SMALL, 5, 0.37 * index + 0.03, 0.35) for index in range(60)]
    shares = [slo_attainment(run(requests, "default", 2, config=config(part_s))[0].outcomes) for part_s in (0.0, 0.1)]
    assert shares[1] > shares[0] + 0.05


def test_a_machine_is_cut_to_where_devices_become_free_often_enough() -> None:
    """A step of 1024x1024 takes 0.4 s on one device: on four, one of them is free every 0.1 s."""
    chunks = []
    for num_devices in (1, 2, 4):
        policy = default(make_cost(num_devices), num_devices, DefaultConfig(part_s=0.1, chunk_s=0.0, calm_chunk_s=0.0))
        plan, _ = policy(make_view([make_request_view("a", LARGE)], num_devices), None)
        chunks.append(plan.assignments[0].num_steps)
    assert chunks == [0.25, 0.5, 1.0]


def test_where_steps_are_whole_those_of_late_requests_are_cut() -> None:
    """On four devices a step takes 0.11 s: whole for who can be on time, half for who is late, and so until it ends."""
    policy = default(make_cost(4), 4, DefaultConfig(part_s=0.1, chunk_s=0.0, calm_chunk_s=0.0))
    late, calm = make_request_view("a", LARGE, 10, 0.1), make_request_view("a", LARGE, 10, 9.0)
    within = calm._replace(remaining_steps=9.5, last_devices=(0, 1, 2, 3))
    counts = [policy(make_view([one], 4), None)[0].assignments[0].num_steps for one in (late, calm, within)]
    assert counts == [0.5, 1.0, 0.5]


def test_small_images_need_not_wait_for_whole_steps_of_late_ones_on_any_machine() -> None:
    requests = [make_request(f"l{index}", LARGE, 10, 0.8 * index, 0.1) for index in range(30)]
    requests += [make_request(f"s{index}", SMALL, 5, 0.37 * index + 0.03, 0.15) for index in range(60)]
    shares = [slo_attainment(run(requests, "default", 4, config=config(part_s))[0].outcomes) for part_s in (0.0, 0.1)]
    assert shares[1] > shares[0] + 0.05


def test_who_ends_a_step_on_one_device_goes_on_with_both_when_both_are_free() -> None:
    """The course that a plan foresaw is not followed with the block of the interrupted step."""
    requests = [make_request("small", SMALL, 6, 0.0, 0.13), make_request("large", LARGE, 10, 0.0, 2.32)]
    for part_s in (0.0, 0.05, 0.1):
        result, _ = run(requests, "default", 2, config=config(part_s))
        assert slo_attainment(result.outcomes) == 1.0


def test_who_waits_for_a_block_is_not_tied_to_a_piece_of_it() -> None:
    view = make_view([make_request_view("a", LARGE, 10, 2.4)], 2, busy={1: 0.2})
    plan, _ = default(view.cost, 2, DefaultConfig(part_s=0.05, idle_step_s=9.0))(view, None)
    assert all(is_whole(one.num_steps) for one in plan.assignments)


def test_late_requests_that_are_within_a_step_go_on_before_others_however_many() -> None:
    """And what is idle of a block is kept for who is within a step on it."""
    late = [make_request_view(f"s{index:02d}", SMALL, 10, 0.01) for index in range(20)]
    big = make_request_view("big", LARGE, 10, 0.1, last=(0,))._replace(remaining_steps=9.5)
    view = make_view([*late, big], 2)._replace(interrupted={0: ("big",)})
    plan, _ = default(view.cost, 2, DefaultConfig(part_s=0.1))(view, None)
    assert {one.devices: one.request_ids for one in plan.assignments} == {(0,): ("big",), (1,): ("s00",)}
    wide = big._replace(last_devices=(0, 1))
    view = make_view([*late, wide], 2, busy={1: 0.05})._replace(interrupted={0: ("big",), 1: ("big",)})
    plan, _ = default(view.cost, 2, DefaultConfig(part_s=0.1, chunk_s=0.5))(view, None)
    assert [(one.request_ids, one.num_steps) for one in plan.assignments] == [(("s00",), 3)]


def test_a_profile_without_single_devices_can_be_cut_too() -> None:
    cost = make_cost(2)
    entries = tuple(entry for entry in cost.profile.entries if entry.degree == 2)
    wide = CostModel(replace(cost.profile, entries=entries), 2)
    plan, _ = default(wide, 2, DefaultConfig())(make_view([make_request_view("a", LARGE)], 2)._replace(cost=wide), None)
    assert [(one.devices, one.num_steps) for one in plan.assignments] == [((0, 1), 0.5)]


@given(st.floats(1e-3, 10), st.floats(1e-3, 10))
def test_the_least_part_is_the_largest_that_is_short_enough(step_s: float, part_s: float) -> None:
    part = least_part(step_s, part_s)
    assert is_cut_point(part)
    assert part * step_s <= part_s or part == GRAIN
    assert part == 1 or 2 * part * step_s > part_s


@given(st.floats(0, 3), st.floats(0.01, 1), st.sampled_from([1, 0.5, 0.25, GRAIN]))
def test_steps_within_a_time_are_at_least_one_part(seconds: float, step_s: float, part: float) -> None:
    num_steps = steps_within(seconds, step_s, part)
    assert num_steps >= part
    assert num_steps % part == 0
    assert num_steps == part or num_steps * step_s <= seconds + 1e-5


@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_where_nobody_else_may_stop_within_a_step_it_is_taken_to_its_end(left: int, wanted: int, full: bool) -> None:
    one = make_request_view("a", SMALL, last=(0,))._replace(remaining_steps=left * GRAIN)
    others = tuple(f"x{index}" for index in range(MAX_INTERRUPTED)) if full else ()
    num_steps = permitted(wanted * GRAIN, one, (0,), make_view([one], 1)._replace(interrupted={0: others}))
    assert min(wanted, left) * GRAIN <= num_steps <= left * GRAIN
    if full:
        assert is_whole(left * GRAIN - num_steps)
        assert num_steps - wanted * GRAIN < 1
    else:
        assert num_steps == min(wanted, left) * GRAIN


def test_steps_that_end_are_counted_once() -> None:
    assert [list(ended_steps(first, num)) for first, num in ((0, 0.5), (0.5, 0.5), (1, 1.25), (2.25, 1.75))] == [
        [],
        [0],
        [1],
        [2, 3],
    ]
