"""Requests of one size that share chunks: who may, when it pays, and that nobody is late because of it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost, make_request, make_request_view, make_view, run
from tetriserve.core.chunk import Stage
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import StepTime
from tetriserve.metrics.attainment import slo_attainment
from tetriserve.scheduler.checks import check_plan
from tetriserve.scheduler.config import DefaultConfig, SchedulerConfig, TetriServeConfig
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.view import Assignment, Plan
from tetriserve.sim.simulate import SimulationResult

POLICIES = ["tetriserve", "default"]
STEPS = 10


def cheap_batches(num_devices: int = 1) -> CostModel:
    """Two small images together take 24 ms a step on one device, 20 ms each alone; four take 32 ms."""
    profile = make_cost(num_devices).profile
    entries = [entry for entry in profile.entries if entry.batch == 1]
    entries += [StepTime(256, 256, 1, 2, 0.024), StepTime(256, 256, 1, 4, 0.032)]
    return CostModel(replace(profile, entries=tuple(entries)), num_devices)


def simulate(
    requests: list[Request], policy: str, batching: bool = True, num_devices: int = 1, cost: CostModel | None = None
) -> SimulationResult:
    config = SchedulerConfig(
        tetriserve=TetriServeConfig(batching=batching, round_s=0.3), default=DefaultConfig(batching=batching)
    )
    return run(requests, policy, num_devices, cost or cheap_batches(num_devices), config)[0]


def batched_ids(result: SimulationResult) -> set[str]:
    return {id_ for done in result.chunks if len(done.chunk.request_ids) > 1 for id_ in done.chunk.request_ids}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_batch_saves_gpu_time_and_deadlines(policy: str) -> None:
    """Twelve images of 0.2 s each on one device in 1.6 s: only together."""
    requests = [make_request(f"r{i:02d}", SMALL, STEPS, 0.0, 1.6) for i in range(12)]
    alone, together = (simulate(requests, policy, batching) for batching in (False, True))
    assert not batched_ids(alone)
    assert batched_ids(together)
    assert slo_attainment(together.outcomes) > slo_attainment(alone.outcomes)
    assert sum(o.gpu_seconds for o in together.outcomes) < sum(o.gpu_seconds for o in alone.outcomes)


@pytest.mark.parametrize("policy", POLICIES)
def test_only_equal_sizes_share_a_chunk_and_only_as_many_as_were_measured(policy: str) -> None:
    sizes = [SMALL, SMALL, MEDIUM, SMALL, LARGE, SMALL, SMALL, MEDIUM, SMALL]
    requests = [make_request(f"r{i}", size, STEPS, 0.0, 1.5) for i, size in enumerate(sizes * 2)]
    size_of = {request.request_id: request.size for request in requests}
    result = simulate(requests, policy)
    for done in result.chunks:
        ids = done.chunk.request_ids
        assert len({size_of[id_] for id_ in ids}) == 1
        assert len(ids) in ((1, 2, 4) if done.chunk.stage is Stage.DENOISE else (1,))
    assert batched_ids(result) <= {id_ for id_, size in size_of.items() if size == SMALL}


@pytest.mark.parametrize("policy", POLICIES)
def test_who_would_be_late_in_a_batch_stays_alone(policy: str) -> None:
    """0.2 s alone, 0.32 s among four, 0.24 s in a pair."""
    requests = [make_request("urgent", SMALL, STEPS, 0.0, 0.21)]
    requests += [make_request(f"r{i}", SMALL, STEPS, 0.0, 1.0) for i in range(6)]
    result = simulate(requests, policy)
    assert "urgent" not in batched_ids(result)
    assert all(outcome.met_deadline for outcome in result.outcomes if outcome.request.request_id == "urgent")


@pytest.mark.parametrize("policy", POLICIES)
def test_nobody_is_batched_while_there_is_room(policy: str) -> None:
    requests = [make_request(f"r{i}", SMALL, STEPS, 0.0, 2.0) for i in range(4)]
    assert not batched_ids(simulate(requests, policy, num_devices=8))


@pytest.mark.parametrize("policy", POLICIES)
def test_members_leave_when_they_are_done_and_others_join(policy: str) -> None:
    requests = [make_request(f"r{i:02d}", SMALL, 4 + 3 * (i % 4), 0.02 * i, 1.8) for i in range(16)]
    result = simulate(requests, policy)
    batches = [done.chunk.request_ids for done in result.chunks if len(done.chunk.request_ids) > 1]
    assert len({frozenset(ids) for ids in batches}) > 2
    assert all(len(o.degrees) == o.request.num_inference_steps for o in result.outcomes)


@pytest.mark.parametrize("policy", POLICIES)
@given(st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0.1, 0.3, 0.6, 1.2])), min_size=2, max_size=12))
@settings(max_examples=40, deadline=None)
def test_every_member_of_a_planned_batch_can_still_be_on_time(policy: str, drawn: list[tuple[int, float]]) -> None:
    """After the batch's chunk, each member meets its deadline at full speed, if it could before."""
    cost = cheap_batches()
    requests = [make_request_view(f"r{i}", SMALL, steps, due_s) for i, (steps, due_s) in enumerate(drawn)]
    view = make_view(requests, 1)._replace(cost=cost)
    plan, _ = make_policy(policy, cost, 1, SchedulerConfig(tetriserve=TetriServeConfig(round_s=0.3)))(view, None)
    check_plan(plan, view)
    by_id = {request.request_id: request for request in requests}
    for assignment in plan.assignments:
        if len(assignment.request_ids) > 1:
            end_s = assignment.num_steps * cost.step_s(SMALL, 1, len(assignment.request_ids))
            for member in (by_id[id_] for id_ in assignment.request_ids):
                left = member.remaining_steps - assignment.num_steps
                assert end_s + left * cost.min_step_s(SMALL) <= member.due_s + 1e-6


def test_a_batch_that_was_not_measured_is_refused() -> None:
    cost = cheap_batches()
    requests = [make_request_view(f"r{i}", SMALL) for i in range(3)]
    view = make_view(requests, 1)._replace(cost=cost)
    with pytest.raises(AssertionError, match="knows no batch of 3 at 256x256 on 1 devices"):
        check_plan(Plan((Assignment(("r0", "r1", "r2"), (0,), 1),)), view)
    assert cost.batches(1, MEDIUM) == (1,)
