"""What holds for every policy, every machine and every workload."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.builders import (
    LARGE,
    LoggingScheduler,
    make_cost,
    make_request,
    make_scheduler,
    requests_strategy,
    run,
)
from tetriserve.core.blocks import is_block
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.commands import Submit
from tetriserve.core.events import Cancelled, ChunkDone, ChunkFailed, WorkersBack, WorkersLost
from tetriserve.core.outcome import CANCELLED
from tetriserve.core.request import Request
from tetriserve.core.steps import MAX_INTERRUPTED, ended_steps, is_whole
from tetriserve.scheduler.config import DefaultConfig, SchedulerConfig, TetriServeConfig
from tetriserve.scheduler.policies import POLICIES, may_interrupt
from tetriserve.sim.clock import VirtualClock
from tetriserve.sim.executor import Faults
from tetriserve.sim.simulate import Simulation, SimulationResult

EPSILON_S = 1e-9
Case = tuple[str, SchedulerConfig]
DEFAULT = ("default", SchedulerConfig())
TETRISERVE = ("tetriserve", SchedulerConfig())
CASES = st.sampled_from(
    [
        ("fixed-sp1", SchedulerConfig()),
        ("rssp", SchedulerConfig()),
        *((name, SchedulerConfig()) for name in ("edf", "srtf", "ddit", "genserve")),
        DEFAULT,
        DEFAULT,
        ("default", SchedulerConfig(ahead_s=0.1)),
        ("default", SchedulerConfig(default=DefaultConfig(chunk_s=0.0, window_s=0.0, num_ahead=1, idle_step_s=0.0))),
        ("default", SchedulerConfig(default=DefaultConfig(part_s=0.0))),
        ("default", SchedulerConfig(default=DefaultConfig(part_s=0.03))),
        ("default", SchedulerConfig(default=DefaultConfig(part_s=0.001, chunk_s=0.01))),
        ("default", SchedulerConfig(ahead_s=0.1, default=DefaultConfig(part_s=0.001, chunk_s=0.0, calm_chunk_s=0.0))),
        TETRISERVE,
        TETRISERVE,
        TETRISERVE,
        ("tetriserve", SchedulerConfig(ahead_s=0.0)),
        ("tetriserve", SchedulerConfig(ahead_s=0.1)),
        ("tetriserve", SchedulerConfig(tetriserve=TetriServeConfig(elastic=False, backfill=False, placement=False))),
        ("tetriserve", SchedulerConfig(tetriserve=TetriServeConfig(elastic=False))),
        ("tetriserve", SchedulerConfig(tetriserve=TetriServeConfig(round_s=0.05))),
        ("tetriserve", SchedulerConfig(tetriserve=TetriServeConfig(step_granularity=1, slip=0.0))),
    ]
)
MACHINES = st.sampled_from([1, 2, 3, 4, 6, 8])
STAGES = st.sampled_from([(0.0, 0.0, 0.0), (0.01, 0.03, 0.002), (0.5, 0.4, 0.0)])
NOISE = st.sampled_from([0.0, 0.0, 0.01, 0.3])


CANCELS = st.dictionaries(st.integers(0, 7), st.sampled_from([0.0, 0.125, 0.3, 0.5, 0.77, 1.5, 3.0]), max_size=4)
"""Which requests are given up, and when."""


Losses = list[tuple[float, set[int]]]
LOSSES = st.lists(st.tuples(st.floats(0, 3), st.sets(st.integers(0, 7), min_size=1, max_size=3)), max_size=5)
"""When devices die, and which, modulo the number that there are."""


def lose_at(simulation: Simulation, losses: Losses) -> None:
    num_devices = simulation.executor.num_devices
    for at_s, devices in losses:
        dead = tuple(sorted({device % num_devices for device in devices}))
        simulation.clock.call_at(at_s, WorkersLost.rank, lambda dead=dead: simulation.executor.lose_workers(dead))


def assert_nothing_booked_while_lost(scheduler: LoggingScheduler) -> None:
    lost: set[int] = set()
    for event, _, commands in scheduler.log:
        if isinstance(event, WorkersLost):
            lost |= set(event.devices)
        elif isinstance(event, WorkersBack):
            lost -= set(event.devices)
        chunks = [chunk for command in commands if isinstance(command, Submit) for chunk in command.chunks]
        assert all(lost.isdisjoint(chunk.devices) for chunk in chunks)


def steps_of(chunk: Chunk, request_id: str) -> range:
    """The steps of a request that end with a chunk or in it."""
    if chunk.stage is not Stage.DENOISE:
        return range(0)
    return ended_steps(chunk.first_steps[chunk.request_ids.index(request_id)], chunk.num_steps)


def cancel_at(simulation: Simulation, cancels: dict[int, float]) -> None:
    for index, at_s in cancels.items():
        name = f"r{index:02d}"
        simulation.clock.call_at(at_s, Cancelled.rank, lambda name=name: simulation.cancel(name))


class ShuffledClock(VirtualClock):
    """Events of one instant and rank come in a random order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def call_at(self, at_s: float, rank: int, call: Callable[[], None]) -> None:
        self._sequence = self._random.getrandbits(60)
        super().call_at(at_s, rank, call)


def assert_sound(result: SimulationResult, requests: list[Request], num_devices: int) -> None:
    """Every request ends once with all its steps, and the executed schedule breaks no rule."""
    assert sorted(outcome.request.request_id for outcome in result.outcomes) == sorted(r.request_id for r in requests)
    for outcome in result.outcomes:
        assert outcome.error is None
        assert len(outcome.degrees) == outcome.request.num_inference_steps
    by_device, by_request = defaultdict(list), defaultdict(list)
    for done in sorted(result.chunks, key=lambda done: done.chunk.chunk_id):
        assert is_block(done.chunk.devices)
        assert done.chunk.devices[-1] < num_devices
        for device in done.chunk.devices:
            by_device[device].append(done)
        for request_id in done.chunk.request_ids:
            by_request[request_id].append(done)
    for line in (*by_device.values(), *by_request.values()):
        for former, latter in pairwise(line):
            assert latter.started_s >= former.finished_s - EPSILON_S
    assert_few_interrupted([done.chunk for done in sorted(result.chunks, key=lambda d: d.chunk.chunk_id)], num_devices)
    for request in requests:
        assert_stages(request, [done.chunk for done in by_request[request.request_id]])
        assert by_request[request.request_id][0].started_s >= request.arrival_s


def assert_stages(request: Request, chunks: list[Chunk]) -> None:
    encode, *steps, decode = chunks
    assert encode.stage is Stage.ENCODE
    assert decode.stage is Stage.DECODE
    assert encode.devices == steps[0].devices[:1]
    assert decode.devices == steps[-1].devices[:1]
    at, devices = 0, steps[0].devices
    for chunk in steps:
        assert chunk.stage is Stage.DENOISE
        assert chunk.first_steps[chunk.request_ids.index(request.request_id)] == at
        assert is_whole(at) or chunk.devices == devices, "moved within a step"
        at, devices = at + chunk.num_steps, chunk.devices
        assert is_whole(at) or len(chunk.request_ids) == 1, "a batch within a step"
    assert at == request.num_inference_steps


def assert_few_interrupted(chunks: list[Chunk], num_devices: int) -> None:
    """A device never keeps parts of more steps than there is room for."""
    within: dict[str, tuple[int, ...]] = {}
    for chunk in chunks:
        if chunk.stage is Stage.DENOISE:
            for request_id, first in zip(chunk.request_ids, chunk.first_steps, strict=True):
                within.pop(request_id, None)
                if not is_whole(first + chunk.num_steps):
                    within[request_id] = chunk.devices
            for device in range(num_devices):
                assert sum(device in devices for devices in within.values()) <= MAX_INTERRUPTED


@given(requests_strategy(), CASES, MACHINES, STAGES, NOISE)
@settings(max_examples=120, deadline=None)
def test_every_schedule_is_sound(
    requests: list[Request], case: Case, num_devices: int, stages: tuple[float, ...], noise_cv: float
) -> None:
    cost = make_cost(num_devices, *stages)
    result, _ = run(requests, case[0], num_devices, cost, case[1], Faults(noise_cv, 7))
    assert_sound(result, requests, num_devices)
    assert may_interrupt(*case) or all(is_whole(done.chunk.num_steps) for done in result.chunks)


@given(requests_strategy(8), CASES, MACHINES, st.integers(0, 5), CANCELS)
@settings(max_examples=40, deadline=None)
def test_order_of_equal_events_never_matters(
    requests: list[Request], case: Case, num_devices: int, seed: int, cancels: dict[int, float]
) -> None:
    cost = make_cost(num_devices, 0.01, 0.03, 0.002)
    plain, _ = run(requests, case[0], num_devices, cost, case[1], prepare=lambda s: cancel_at(s, cancels))
    shuffled = random.Random(seed).sample(requests, len(requests))
    clock = ShuffledClock(seed)
    other, _ = run(shuffled, case[0], num_devices, cost, case[1], None, clock, lambda s: cancel_at(s, cancels))
    assert sorted(plain.outcomes, key=str) == sorted(other.outcomes, key=str)
    assert sorted(plain.chunks, key=str) == sorted(other.chunks, key=str)


@given(requests_strategy(8), CASES, MACHINES, NOISE)
@settings(max_examples=30, deadline=None)
def test_the_same_log_gives_the_same_commands(
    requests: list[Request], case: Case, num_devices: int, noise_cv: float
) -> None:
    cost = make_cost(num_devices, 0.01, 0.03, 0.002)
    _, scheduler = run(requests, case[0], num_devices, cost, case[1], Faults(noise_cv, 1))
    replayed = make_scheduler(case[0], cost, num_devices, case[1])
    for event, now_s, commands in scheduler.log:
        assert replayed.on(event, now_s) == commands


@given(requests_strategy(), CASES, MACHINES, NOISE)
@settings(max_examples=40, deadline=None)
def test_a_device_holds_one_denoise_chunk_behind_the_running_one(
    requests: list[Request], case: Case, num_devices: int, noise_cv: float
) -> None:
    _, scheduler = run(requests, case[0], num_devices, make_cost(num_devices, 0.01, 0.03), case[1], Faults(noise_cv, 1))
    queues: dict[int, list[Chunk]] = defaultdict(list)
    for event, _, commands in scheduler.log:
        if isinstance(event, ChunkDone):
            for queue in queues.values():
                queue[:] = [chunk for chunk in queue if chunk.chunk_id != event.chunk_id]
        for command in commands:
            if isinstance(command, Submit):
                for chunk in command.chunks:
                    for device in chunk.devices:
                        queues[device].append(chunk)
        for queue in queues.values():
            assert sum(chunk.stage is Stage.DENOISE for chunk in queue[1:]) <= 1


@given(
    requests_strategy(8),
    CASES,
    MACHINES,
    LOSSES,
    st.sampled_from([0.0, 0.3, 2.0]),
    st.sets(st.integers(0, 7), max_size=2),
    CANCELS,
)
@settings(max_examples=120, deadline=None)
def test_every_request_ends_once_whatever_fails(
    requests: list[Request],
    case: Case,
    num_devices: int,
    losses: Losses,
    recovery_s: float,
    failing: set[int],
    cancels: dict[int, float],
) -> None:
    def prepare(simulation: Simulation) -> None:
        lose_at(simulation, losses)
        cancel_at(simulation, cancels)

    faults = Faults(failing_ids=frozenset(f"r{index:02d}" for index in failing), recovery_s=recovery_s)
    result, scheduler = run(
        requests, case[0], num_devices, make_cost(num_devices, 0.01), case[1], faults, None, prepare
    )
    assert scheduler.num_unfinished == 0
    assert_nothing_booked_while_lost(scheduler)
    assert sorted(outcome.request.request_id for outcome in result.outcomes) == sorted(r.request_id for r in requests)
    for outcome in result.outcomes:
        if outcome.error is None:
            assert len(outcome.degrees) == outcome.request.num_inference_steps
            assert outcome.request.request_id not in faults.failing_ids
        else:
            assert outcome.error_code in {"engine_error", "worker_lost", CANCELLED}
            assert not outcome.met_deadline
            assert not outcome.cancelled or int(outcome.request.request_id[1:]) in cancels


@given(requests_strategy(8), CASES, MACHINES, LOSSES, st.sampled_from([0.0, 0.3, 2.0]))
@settings(max_examples=60, deadline=None)
def test_no_step_is_taken_twice_or_left_out_however_many_devices_are_lost(
    requests: list[Request], case: Case, num_devices: int, losses: Losses, recovery_s: float
) -> None:
    cost, config = make_cost(num_devices, 0.01, 0.03, 0.002), replace(case[1], max_losses=1000)
    faults = Faults(0.01, 5, recovery_s=recovery_s)
    result, _ = run(requests, case[0], num_devices, cost, config, faults, None, lambda s: lose_at(s, losses))
    by_request = defaultdict(list)
    for done in result.chunks:
        for request_id in done.chunk.request_ids:
            by_request[request_id].append(done)
    assert all(outcome.error is None for outcome in result.outcomes)
    for request in requests:
        line = by_request[request.request_id]
        assert [done.chunk.stage for done in line] == sorted((done.chunk.stage for done in line), key=list(Stage).index)
        steps = [step for done in line for step in steps_of(done.chunk, request.request_id)]
        assert steps == list(range(request.num_inference_steps))


@given(requests_strategy(8), CASES, MACHINES, STAGES, NOISE, CANCELS)
@settings(max_examples=80, deadline=None)
def test_nothing_begins_for_a_cancelled_request(
    requests: list[Request],
    case: Case,
    num_devices: int,
    stages: tuple[float, ...],
    noise_cv: float,
    cancels: dict[int, float],
) -> None:
    cost = make_cost(num_devices, *stages)
    result, _ = run(
        requests,
        case[0],
        num_devices,
        cost,
        case[1],
        Faults(noise_cv, 3),
        prepare=lambda simulation: cancel_at(simulation, cancels),
    )
    cancelled = {
        outcome.request.request_id: cancels[int(outcome.request.request_id[1:])]
        for outcome in result.outcomes
        if outcome.cancelled
    }
    for done in result.chunks:
        if cancelled.keys() >= set(done.chunk.request_ids):
            assert done.started_s <= max(cancelled[id_] for id_ in done.chunk.request_ids) + EPSILON_S
    for outcome in result.outcomes:
        if not outcome.cancelled:
            assert outcome.error is None
            assert len(outcome.degrees) == outcome.request.num_inference_steps


@pytest.mark.parametrize("policy", POLICIES)
def test_under_overload_everything_ends(policy: str) -> None:
    requests = [make_request(f"r{i:03d}", LARGE, 10, 0.05 * i, 1.5) for i in range(60)]
    requests += [replace(request, request_id=f"s{request.request_id}") for request in requests]
    result, _ = run(requests, policy)
    assert_sound(result, requests, 8)


def test_failed_events_are_not_counted_as_steps() -> None:
    result, scheduler = run([make_request("a")], faults=Faults(failing_ids=("a",)))
    assert any(isinstance(event, ChunkFailed) for event, _, _ in scheduler.log)
    assert result.outcomes[0].degrees == ()
