"""The requests of a cell: the same for every contender under one mix and load, whatever the deadlines."""

import re
from dataclasses import replace

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.deadlines import RULES
from tetriserve.evaluation.study import Cell, Study
from tetriserve.workload.generate import WorkloadConfig, generate
from tetriserve.workload.mixes import Mix, parse_mix
from tetriserve.workload.trace import TraceEntry


def capacity_per_min(mix: Mix, num_steps: int, cost: CostModel, num_devices: int) -> float:
    """Images a minute if all devices were always busy at degree 1: encoding, steps and decoding of the mean image."""
    mean_s = sum(weight * cost.solo_s(size, num_steps, 1) for size, weight in mix.items()) / sum(mix.values())
    return 60 * num_devices / mean_s


def rate_per_min(load: str, mix: Mix, num_steps: int, cost: CostModel, num_devices: int) -> float:
    """Of a load like `60%`, of capacity, or `12/min`. Raises ConfigurationError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%|/min)", load)
    if match is None:
        raise ConfigurationError(f"load {load!r}: must be like 60% or 12/min")
    number = float(match[1])
    return number if match[2] == "/min" else number / 100 * capacity_per_min(mix, num_steps, cost, num_devices)


def make_trace(study: Study, cell: Cell, cost: CostModel, num_devices: int) -> tuple[TraceEntry, ...]:
    """Seeded; the first request comes at once. Contenders that ignore deadlines are told those of the first scale."""
    mix = parse_mix(cell.mix, study.sizes)
    rate = rate_per_min(cell.load, mix, study.num_steps, cost, num_devices)
    scale = study.scales[0] if cell.scale is None else cell.scale
    rule = RULES[study.deadlines]

    def slo_s(size: Size) -> float:
        return scale * rule(size, study.num_steps, cost)

    config = WorkloadConfig(mix, study.num_requests, "poisson", rate, study.num_steps, study.seed)
    return from_zero(generate(config, slo_s))


def from_zero(trace: tuple[TraceEntry, ...]) -> tuple[TraceEntry, ...]:
    """The same, on a clock that starts with the first arrival."""
    return tuple(replace(entry, arrival_s=entry.arrival_s - trace[0].arrival_s) for entry in trace)
