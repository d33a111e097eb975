"""The same cell on virtual time: the same scheduler, policy, profile and requests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import SchedulerConfig, TetriServeConfig
from tetriserve.sim.results import decision_ms
from tetriserve.sim.simulate import SimulationConfig, simulate
from tetriserve.workload.trace import TraceEntry


def as_served(sizes: Sequence[Size], noise_cv: float = 0.0) -> SimulationConfig:
    """The settings that a server of these sizes has when none are given; step times vary by `noise_cv`."""
    largest = max(sizes, key=lambda size: (size.num_tokens, size))
    scheduler = SchedulerConfig(tetriserve=replace(TetriServeConfig(), largest_size=largest))
    return SimulationConfig(noise_cv, scheduler=scheduler)


def simulate_cell(
    cost: CostModel,
    trace: Sequence[TraceEntry],
    policy: str,
    num_devices: int,
    sizes: Sequence[Size],
    delivery_s: Mapping[Size, float] = MappingProxyType({}),
) -> dict[str, Any]:
    """What the profile foresees: every request's latency, without its delivery, and totals."""
    requests = [
        replace(entry.to_request(seed), delivery_s=delivery_s.get(entry.size, 0.0)) for seed, entry in enumerate(trace)
    ]
    result = simulate(cost, requests, policy, num_devices, config=as_served(sizes))
    return {
        "latency_s": {done.request.request_id: round(done.latency_s, 4) for done in result.outcomes},
        "delivery_s": {str(size): round(seconds, 4) for size, seconds in delivery_s.items()},
        "gpu_utilization": result.gpu_utilization,
        "gpu_seconds_per_image": sum(done.gpu_seconds for done in result.outcomes) / len(result.outcomes),
        "end_s": result.end_s,
        "decision_ms": decision_ms(result),
    }
