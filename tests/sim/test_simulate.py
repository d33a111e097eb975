"""The simulator: deterministic, complete, and right about times."""

import os
import subprocess
import sys
import time

import pytest

import tetriserve.sim.simulate as sim_module
from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost, make_request
from tetriserve.core.chunk import Stage
from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.events import WorkersLost
from tetriserve.core.request import Request
from tetriserve.metrics.attainment import slo_attainment, summarize
from tetriserve.scheduler.config import SchedulerConfig, TetriServeConfig
from tetriserve.scheduler.policies import POLICIES, make_policy
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.scheduler.view import Assignment, Plan, View
from tetriserve.sim.clock import VirtualClock
from tetriserve.sim.executor import Faults
from tetriserve.sim.simulate import Simulation, SimulationConfig, simulate


def mixed(num: int, gap_s: float = 0.3, slo_s: float = 2.0) -> list[Request]:
    sizes = (SMALL, MEDIUM, LARGE)
    return [make_request(f"r{i:04d}", sizes[i * 7 % 3], 10, gap_s * i, slo_s) for i in range(num)]


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_seeds_give_equal_results_to_the_last_bit(policy: str) -> None:
    cost, config = make_cost(8, 0.01, 0.02, 0.001), SimulationConfig(noise_cv=0.05)
    first, second, other = (simulate(cost, mixed(60), policy, 8, seed, config) for seed in (3, 3, 4))
    assert first == second
    assert repr(first) == repr(second)
    assert first != other


def test_results_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); from sim.test_simulate import *;"
        "print(hash_free(simulate(make_cost(8, 0.01, 0.02), mixed(40), 'tetriserve', 8)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def hash_free(result: object) -> str:
    return repr(result)


def test_times_follow_the_cost_model() -> None:
    """0.1 s of encoding, ten steps of 80 ms, 0.2 s of decoding; two requests on one device, one after the other."""
    requests = [make_request("a", MEDIUM, 10), make_request("b", MEDIUM, 10)]
    result = simulate(make_cost(1, 0.1, 0.2), requests, "fixed-sp1", 1)
    assert [outcome.finished_s for outcome in result.outcomes] == pytest.approx([1.1, 2.2])
    assert [outcome.queue_s for outcome in result.outcomes] == pytest.approx([0.0, 1.1])
    assert result.gpu_utilization == pytest.approx(1.0)
    assert result.end_s == pytest.approx(2.2)


def test_changing_blocks_costs_switch_time() -> None:
    """The first block change of a request is predicted by the scheduler exactly as it is executed."""
    requests = mixed(30, 0.05)
    config = SimulationConfig(scheduler=SchedulerConfig(tetriserve=TetriServeConfig(batching=False)))
    result = simulate(make_cost(8, switch_s=0.004), requests, "tetriserve", 8, config=config)
    blocks: dict[str, tuple[int, ...]] = {}
    moved = 0
    for done in sorted(result.chunks, key=lambda done: done.chunk.chunk_id):
        chunk = done.chunk
        if chunk.stage is Stage.DENOISE:
            (id_,) = chunk.request_ids
            size = next(request.size for request in requests if request.request_id == id_)
            expected_s = chunk.num_steps * make_cost().step_s(size, chunk.degree)
            expected_s += 0.004 * (blocks.get(id_, chunk.devices) != chunk.devices)
            moved += blocks.get(id_, chunk.devices) != chunk.devices
            assert done.finished_s - done.started_s == pytest.approx(expected_s)
            blocks[id_] = chunk.devices
    assert moved > 0


def test_noise_has_the_asked_for_spread() -> None:
    requests = [make_request(f"r{i}", MEDIUM, 1, 10.0 * i) for i in range(400)]
    result = simulate(make_cost(1), requests, "fixed-sp1", 1, config=SimulationConfig(noise_cv=0.1))
    times_s = [d.finished_s - d.started_s for d in result.chunks if d.chunk.stage is Stage.DENOISE]
    mean = sum(times_s) / len(times_s)
    spread = (sum((t - mean) ** 2 for t in times_s) / len(times_s)) ** 0.5
    assert mean == pytest.approx(0.08, rel=0.03)
    assert spread / mean == pytest.approx(0.1, rel=0.15)


def test_small_noise_changes_little() -> None:
    """The published spread of step times (0.7 %) must not make devices miss their rounds."""
    requests = mixed(200, 0.25, 1.2)
    plain = simulate(make_cost(8), requests, "tetriserve", 8)
    noisy = simulate(make_cost(8), requests, "tetriserve", 8, config=SimulationConfig(noise_cv=0.0067))
    assert slo_attainment(noisy.outcomes) == pytest.approx(slo_attainment(plain.outcomes), abs=0.05)


def test_tetriserve_meets_more_deadlines_than_fixed_degrees() -> None:
    requests = mixed(300, 0.3, 1.3)
    sar = {policy: slo_attainment(simulate(make_cost(8), requests, policy, 8).outcomes) for policy in POLICIES}
    assert all(sar["tetriserve"] > sar[policy] for policy in ("fixed-sp1", "fixed-sp2", "rssp")), sar


@pytest.mark.parametrize(("policy", "least_per_s"), [("fixed-sp1", 1000), ("rssp", 1000), ("tetriserve", 200)])
def test_it_is_fast(policy: str, least_per_s: int) -> None:
    """On an idle core it does about eight times as much; half is allowed for busy ones."""
    requests = mixed(400)
    begin = time.process_time()
    simulate(make_cost(8, 0.01, 0.02), requests, policy, 8)
    assert len(requests) / (time.process_time() - begin) > least_per_s / 2


def test_nothing_to_do() -> None:
    result = simulate(make_cost(1), [], "tetriserve", 1)
    assert (result.outcomes, result.gpu_utilization, result.end_s) == ((), 0.0, 0.0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="'a' occurs twice"):
        simulate(make_cost(1), [make_request("a"), make_request("a")], "tetriserve", 1)
    with pytest.raises(ConfigurationError, match="not known"):
        simulate(make_cost(1), [], "best", 1)


def test_the_clock_keeps_the_order_of_time_rank_and_sequence() -> None:
    clock, calls = VirtualClock(), []
    for at_s, rank, name in ((2.0, 0, "d"), (1.0, 1, "b"), (1.0, 0, "a"), (1.0, 1, "c")):
        clock.call_at(at_s, rank, lambda name=name: calls.append((clock.now_s(), name)))
    clock.call_at(1.5, 0, lambda: clock.call_at(0.0, 0, lambda: calls.append((clock.now_s(), "late"))))
    clock.run()
    assert calls == [(1.0, "a"), (1.0, "b"), (1.0, "c"), (1.5, "late"), (2.0, "d")]


def test_simulating_needs_no_torch() -> None:
    code = "import sys, tetriserve.sim.simulate; assert not {'torch', 'numpy', 'diffusers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_failures_are_repaired_and_cost_time() -> None:
    requests = mixed(100, 0.5, 5.0)
    config = SimulationConfig(failures_per_hour=1200, recovery_s=5.0)
    plain = simulate(make_cost(8), requests, "tetriserve", 8)
    broken, again = (simulate(make_cost(8), requests, "tetriserve", 8, 1, config) for _ in range(2))
    assert broken == again
    assert len(broken.outcomes) == len(requests)
    assert all(outcome.error is None for outcome in broken.outcomes)
    assert summarize(broken.outcomes).mean_latency_s > summarize(plain.outcomes).mean_latency_s


def test_nothing_starts_until_lost_workers_are_replaced() -> None:
    """Ten steps of 80 ms; the worker dies at 0.5 s and is back at 3.5 s."""
    cost = make_cost(1)
    scheduler = Scheduler(make_policy("fixed-sp1", cost, 1), cost, 1)
    simulation = Simulation(cost, 1, scheduler, Faults(recovery_s=3.0))
    simulation.clock.call_at(0.5, WorkersLost.rank, lambda: simulation.executor.lose_workers((0,)))
    (outcome,) = simulation.run([make_request("a", MEDIUM, 10)]).outcomes
    assert outcome.finished_s == pytest.approx(4.3)


@pytest.mark.parametrize("num_devices", [0, -1, 3, 12])
def test_a_machine_must_have_a_power_of_two(num_devices: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{num_devices} GPUs: must be a power of two"):
        simulate(make_cost(8), [], "tetriserve", num_devices)


@pytest.mark.parametrize("name", ["noise_cv", "failures_per_hour", "recovery_s"])
def test_faults_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is -1"):
        SimulationConfig(**{name: -1.0})


def test_a_policy_that_breaks_a_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(view: View, memory: None) -> tuple[Plan, None]:
        return Plan(tuple(Assignment((request.request_id,), (0,), 1) for request in view.requests)), memory

    monkeypatch.setattr(sim_module, "make_policy", lambda *args: greedy)
    requests = [make_request("a", arrival_s=1.5), make_request("b", arrival_s=1.5)]
    with pytest.raises(ConfigurationError, match=r"'greedy' broke a rule at 1\.500 s: \(0,\): booked twice"):
        simulate(make_cost(2), requests, "greedy", 2)


def test_whoever_asks_is_told_how_far_it_is() -> None:
    told: list[int] = []
    simulate(make_cost(1), mixed(5), "fixed-sp1", 1, on_complete=told.append)
    assert told == [1, 2, 3, 4, 5]
