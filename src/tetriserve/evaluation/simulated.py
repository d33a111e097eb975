"""The same cell on virtual time: the same scheduler, policy, profile and requests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.study import variant_of
from tetriserve.sim.results import decision_ms
from tetriserve.sim.simulate import SimulationConfig, simulate
from tetriserve.workload.trace import TraceEntry


def as_served(contender: str, sizes: Sequence[Size], noise_cv: float = 0.0) -> tuple[str, SimulationConfig]:
    """The policy of a contender of ours and the settings that its server of these sizes has.

    Step times vary by `noise_cv`.
    """
    variant, largest = variant_of(contender), max(sizes, key=lambda size: (size.num_tokens, size))
    tetriserve = replace(variant.scheduler.tetriserve, largest_size=largest)
    return variant.policy, SimulationConfig(noise_cv, scheduler=replace(variant.scheduler, tetriserve=tetriserve))


def simulate_cell(
    cost: CostModel,
    trace: Sequence[TraceEntry],
    contender: str,
    num_devices: int,
    sizes: Sequence[Size],
    delivery_s: Mapping[Size, float] = MappingProxyType({}),
) -> dict[str, Any]:
    """What the profile foresees: every request's latency, without its delivery, and totals."""
    requests = [
        replace(entry.to_request(seed), delivery_s=delivery_s.get(entry.size, 0.0)) for seed, entry in enumerate(trace)
    ]
    policy, config = as_served(contender, sizes)
    result = simulate(cost, requests, policy, num_devices, config=config)
    return {
        "latency_s": {done.request.request_id: round(done.latency_s, 4) for done in result.outcomes},
        "delivery_s": {str(size): round(seconds, 4) for size, seconds in delivery_s.items()},
        "gpu_utilization": result.gpu_utilization,
        "gpu_seconds_per_image": sum(done.gpu_seconds for done in result.outcomes) / len(result.outcomes),
        "end_s": result.end_s,
        "decision_ms": decision_ms(result),
    }
