"""Many simulations: every combination of mixes, rates, SLO scales, seeds and policies, and the bounds of each trace."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

from tetriserve.bound.solve import fractional_bound, hindsight_bound
from tetriserve.core.request import Request
from tetriserve.cost.checks import check_profile
from tetriserve.cost.deadline import PAPER_SLO_S, published_slo_s
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.sim.results import run_row
from tetriserve.sim.simulate import SimulationConfig, simulate
from tetriserve.workload.generate import WorkloadConfig, generate
from tetriserve.workload.mixes import parse_mix

BOUND, HINDSIGHT = "bound", "hindsight"
"""Solvers that take the place of a policy in a cell."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """What is combined. Rates are requests per minute."""

    policies: tuple[str, ...]
    mixes: tuple[str, ...]
    rates_per_min: tuple[float, ...]
    slo_scales: tuple[float, ...]
    seeds: tuple[int, ...]
    solvers: tuple[str, ...] = ()

    def cells(self) -> Iterator["Cell"]:
        """All combinations, those of one trace together, solvers first: they take longest."""
        workloads = product(self.mixes, self.rates_per_min, self.slo_scales, self.seeds)
        return (Cell(*workload, who) for workload in workloads for who in (*self.solvers, *self.policies))


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy (or solver) on one trace."""

    mix: str
    rate_per_min: float
    slo_scale: float
    seed: int
    policy: str


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """What all cells have in common. `timing` says whether rows hold decision times.

    `extrapolated` multiplies the step times that the profile calls extrapolated.
    """

    profile: str
    num_devices: int
    arrivals: str = "poisson"
    num_requests: int = 300
    num_inference_steps: int = 28
    timing: bool = True
    limit_s: float = 60.0
    extrapolated: float = 1.0
    simulation: SimulationConfig = field(default_factory=SimulationConfig)

    def key(self) -> str:
        """Equal for equal configurations."""
        return json.dumps(asdict(self), sort_keys=True, default=str)


def run_cell(config: SweepConfig, cell: Cell) -> Row:
    """The row of one cell: its coordinates, and the numbers of the run or the bound. Raises ConfigurationError."""
    profile = load_profile(config.profile).with_extrapolated(config.extrapolated)
    cost = CostModel(profile, config.num_devices)
    requests = make_requests(config, cell, cost)
    return {**asdict(cell), **_numbers(config, cell, cost, requests)}


def make_requests(config: SweepConfig, cell: Cell, cost: CostModel) -> list[Request]:
    """The trace of a cell: the same for all its policies. Raises ConfigurationError."""
    mix = parse_mix(cell.mix, tuple(PAPER_SLO_S))
    check_profile(cost.profile, mix, config.num_devices, config.profile)
    workload = WorkloadConfig(
        mix, config.num_requests, config.arrivals, cell.rate_per_min, config.num_inference_steps, cell.seed
    )
    entries = generate(workload, lambda size: published_slo_s(size, cell.slo_scale))
    return [entry.to_request() for entry in entries]


def _numbers(config: SweepConfig, cell: Cell, cost: CostModel, requests: Sequence[Request]) -> Row:
    match cell.policy:
        case "bound":
            return asdict(fractional_bound(cost, requests, config.num_devices))
        case "hindsight":
            return asdict(hindsight_bound(cost, requests, config.num_devices, config.limit_s))
        case policy:
            result = simulate(cost, requests, policy, config.num_devices, cell.seed, config.simulation)
            return run_row(policy, result, config.timing)


def sweep(
    config: SweepConfig, grid: Grid, run_all: Callable[[SweepConfig, Sequence[Cell]], Iterable[Row]]
) -> dict[str, Any]:
    """The document of a sweep; `run_all` runs cells in any order. Rows come in the order of the grid."""
    cells = list(grid.cells())
    rows = {Cell(**_coordinates(row)): row for row in run_all(config, cells)}
    ordered = [rows[cell] for cell in cells]
    return {
        "runs": [row for row in ordered if row["policy"] not in (BOUND, HINDSIGHT)],
        "bounds": [row for row in ordered if row["policy"] in (BOUND, HINDSIGHT)],
        "means": means(ordered),
        "config": {**asdict(config), "grid": asdict(grid)},
    }


def means(rows: Iterable[Row]) -> list[Row]:
    """Over seeds: SAR of each policy in each cell, and as a share of each bound's mean.

    `gpu_s_per_on_time_image` counts all work, that on late images too, and divides it by the images on time.
    """
    groups: dict[tuple[str, float, float], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row["mix"], row["rate_per_min"], row["slo_scale"]][row["policy"]].append(row)
    return [
        {"mix": mix, "rate_per_min": rate_per_min, "slo_scale": scale, "policy": policy, **_shares(policy, by_policy)}
        for (mix, rate_per_min, scale), by_policy in groups.items()
        for policy in by_policy
    ]


def _shares(policy: str, by_policy: Mapping[str, Sequence[Row]]) -> Row:
    mean = {name: _mean(rows, "sar") for name, rows in by_policy.items()}
    shares = {f"of_{solver}": mean[policy] / mean[solver] for solver in (BOUND, HINDSIGHT) if mean.get(solver)}
    if policy not in (BOUND, HINDSIGHT) and mean[policy]:
        shares["gpu_s_per_on_time_image"] = _mean(by_policy[policy], "gpu_seconds_per_image") / mean[policy]
    return {"sar": mean[policy], "num_seeds": len(by_policy[policy]), **shares}


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(sum(row[name] for row in rows)) / len(rows)


def _coordinates(row: Row) -> Row:
    return {name: row[name] for name in Cell.__dataclass_fields__}
