"""The policy `default`: whom it serves, how it joins blocks, and what late requests may use."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost, make_request, make_request_view, make_view, run
from tetriserve.core.errors import ConfigurationError
from tetriserve.metrics.attainment import slo_attainment
from tetriserve.scheduler.checks import check_plan
from tetriserve.scheduler.config import DefaultConfig, SchedulerConfig, TetriServeConfig
from tetriserve.scheduler.policies.default.forecast import forecast
from tetriserve.scheduler.policies.default.job import Job
from tetriserve.scheduler.policies.default.policy import default
from tetriserve.scheduler.policies.default.selection import affordable, select
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.view import RequestView, View


def plan(view: View, **config: float) -> dict[str, tuple[tuple[int, ...], int]]:
    made, _ = default(view.cost, view.num_devices, DefaultConfig(**config))(view, None)
    check_plan(made, view)
    return {a.request_ids[0]: (a.devices, a.num_steps) for a in made.assignments}


def make_job(request: RequestView, num_devices: int = 8) -> Job:
    return Job.of((request,), StepCurve.of(request.size, make_cost(num_devices), num_devices), 0.0, 0.0)


def test_one_request_gets_what_makes_it_fastest() -> None:
    assert plan(make_view([make_request_view("a", LARGE, 10, 9.0)])) == {"a": (tuple(range(8)), 3)}
    assert plan(make_view([make_request_view("a", SMALL, 10, 9.0)])) == {"a": ((0, 1, 2, 3), 10)}


def test_when_two_are_too_many_the_cheaper_is_served() -> None:
    """Ten large steps take all devices 0.6 s, and so do eight more after them: not both in 0.7 s."""
    requests = [make_request_view("new", LARGE, 10, 0.7), make_request_view("nearly-done", LARGE, 4, 0.69)]
    found = select([make_job(one) for one in requests], 8)
    assert found.on_time == {"nearly-done"}
    assert set(plan(make_view(requests))) == {"nearly-done"}


def test_where_work_takes_longer_than_profiled_deadlines_need_more_devices() -> None:
    """Ten medium steps take 0.8 s on one device, and 0.45 s on two."""
    view = make_view([make_request_view(name, MEDIUM, 10, 0.9) for name in "ab"], 2)
    assert {len(devices) for devices, _ in plan(view).values()} == {1}
    assert [devices for devices, _ in plan(view._replace(slowness=1.5)).values()] == [(0, 1)]


def test_the_forecast_waits_for_devices_that_are_busy() -> None:
    job = make_job(make_request_view("a", LARGE, 10, 1.0))
    assert forecast([job], 8).on_time == {"a"}
    assert forecast([job], 4, ((0.3, 4),)).on_time == {"a"}
    assert forecast([job], 4, ((0.9, 4),)).on_time == frozenset()


def test_a_block_is_kept_for_who_needs_all_of_it() -> None:
    """Seven devices are free and the eighth soon is: `urgent` can only do it on all. Short steps fill the time."""
    requests = [make_request_view("urgent", LARGE, 10, 0.75), make_request_view("calm", SMALL, 10, 9.0)]
    given_ = plan(make_view(requests, busy={7: 0.1}))
    assert "urgent" not in given_ or len(given_["urgent"][0]) < 8
    for request_id, (devices, num_steps) in given_.items():
        size = LARGE if request_id == "urgent" else SMALL
        assert num_steps * make_cost().step_s(size, len(devices)) <= 0.1 + DefaultConfig().slip_s + 1e-9


def test_without_a_window_nobody_waits_for_busy_devices() -> None:
    requests = [make_request_view("a", LARGE, 10, 0.75)]
    assert len(plan(make_view(requests, busy={7: 0.1}), window_s=0.0)["a"][0]) == 4


def test_late_requests_take_no_long_steps_if_they_have_shorter_ones() -> None:
    late = [make_request_view(f"late{i}", LARGE, 10, 0.01) for i in range(8)]
    for devices, _ in plan(make_view(late), idle_step_s=0.15).values():
        assert len(devices) >= 4


REQUESTS = st.lists(
    st.tuples(st.sampled_from([SMALL, MEDIUM, LARGE]), st.integers(1, 12), st.floats(0.05, 3.0)), min_size=1, max_size=9
).map(lambda drawn: [make_request_view(f"r{i}", *one) for i, one in enumerate(drawn)])


@given(REQUESTS)
@settings(max_examples=100, deadline=None)
def test_selection_never_keeps_fewer_than_serving_all_it_can_afford(requests: list[RequestView]) -> None:
    jobs = sorted((make_job(one) for one in requests), key=lambda job: (job.due_s, job.key))
    assert select(jobs, 8).worth >= forecast(affordable(jobs, 8), 8).worth


@given(REQUESTS, st.sampled_from([1, 2, 4, 8, 16, 32]))
@settings(max_examples=100, deadline=None)
def test_an_idle_machine_never_stays_idle(requests: list[RequestView], num_devices: int) -> None:
    assert plan(make_view(requests, num_devices))


def test_large_machines_are_planned_some_cells_at_a_time() -> None:
    requests = [make_request_view(f"r{i:03d}", LARGE, 10, 0.8) for i in range(40)]
    view = make_view(requests, 256)
    policy = default(view.cost, 256, DefaultConfig())
    first, memory = policy(view, None)
    assert first.wake_s == view.now_s
    assert {device // 128 for a in first.assignments for device in a.devices} == {0}
    result, _ = run([make_request(f"r{i:03d}", LARGE, 10, 0.0, 0.8) for i in range(32)], "default", 256)
    assert slo_attainment(result.outcomes) == 1.0
    assert memory is not None


def test_it_meets_more_deadlines_than_any_other_policy_under_overload() -> None:
    sizes = (SMALL, LARGE, MEDIUM, LARGE)
    requests = [make_request(f"r{i:03d}", sizes[i % 4], 10, 0.22 * i, 1.0) for i in range(200)]
    sar = {
        policy: slo_attainment(run(requests, policy)[0].outcomes) for policy in ("default", "tetriserve", "edf", "rssp")
    }
    assert sar["default"] == max(sar.values()), sar


@pytest.mark.parametrize(
    "wrong", [{"chunk_s": -1.0}, {"window_s": float("nan")}, {"slip_s": float("inf")}, {"num_ahead": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        DefaultConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("step_granularity", [1, 2, 5, 10, 15])
def test_tetriserve_runs_at_every_step_granularity(step_granularity: int) -> None:
    config = SchedulerConfig(tetriserve=TetriServeConfig(step_granularity=step_granularity))
    requests = [make_request(f"r{i}", (SMALL, LARGE)[i % 2], 10, 0.1 * i, 2.0) for i in range(12)]
    assert all(outcome.error is None for outcome in run(requests, config=config)[0].outcomes)
