"""Simulator against reality: every cell of ours beside its simulation."""

import math
import statistics
from dataclasses import dataclass

from tetriserve.evaluation.chunk_facts import as_fast_as
from tetriserve.evaluation.judge import outcomes
from tetriserve.evaluation.report.grid import Column, Grid
from tetriserve.evaluation.report.markdown import number, percent, share, table
from tetriserve.evaluation.report.tables import heading
from tetriserve.evaluation.simulated import as_served
from tetriserve.metrics.attainment import Report, Summary, slo_attainment
from tetriserve.sim.simulate import simulate

SAR_GOAL = 0.03
LATENCY_GOAL = 0.05
NOISE_CV = 0.01
NOISE_SEEDS = 10
"""How far a schedule of these requests moves by itself: the same simulated so often, with step times that vary."""


@dataclass(frozen=True, slots=True)
class Paced:
    """The same simulated NOISE_SEEDS times with chunks that take what they took in this cell; steps vary by NOISE_CV.

    Shares on time, and mean latencies in seconds.
    """

    sars: tuple[float, ...]
    latencies_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """One cell at one scale. Latencies are compared on the engine's clock: the simulator knows no files and no HTTP."""

    name: str
    column: Column
    scale: float
    client: Report
    engine: Report
    simulated: Report
    paced: Paced

    @property
    def sar_difference(self) -> float:
        """Served, judged by the client, minus simulated."""
        return self.client.total.sar - self.simulated.total.sar

    @property
    def latency_difference(self) -> float:
        """Mean latency, served over simulated, minus one."""
        return relative(self.engine.total, self.simulated.total)

    @property
    def paced_sar_difference(self) -> float:
        """Served minus the mean of those that were as fast as this cell."""
        return self.client.total.sar - statistics.fmean(self.paced.sars)

    @property
    def paced_latency_difference(self) -> float:
        """Mean latency, served over the mean of those that were as fast as this cell, minus one."""
        return self.engine.total.mean_latency_s / statistics.fmean(self.paced.latencies_s) - 1


def relative(served: Summary, simulated: Summary) -> float:
    """Of mean latencies; NaN where there is none."""
    return served.mean_latency_s / simulated.mean_latency_s - 1


def pairs(grid: Grid) -> list[Pair]:
    """All cells that have been served and simulated, at every scale that they tell of."""
    found = []
    for name in grid.policies:
        for column in grid.columns:
            for scale in grid.study.scales:
                client, engine, simulated = (
                    grid.report(name, column, scale, clock) for clock in ("client", "engine", "simulated")
                )
                if client is not None and engine is not None and simulated is not None:
                    paced = _paced(grid, name, column, scale)
                    found.append(Pair(name, column, scale, client, engine, simulated, paced))
    return found


def _paced(grid: Grid, name: str, column: Column, scale: float) -> Paced:
    document = grid.document(name, column, scale)
    assert document is not None and grid.cost is not None
    requests = [one.request for one in outcomes(document, grid.study, scale, "simulated")]
    num_devices, (policy, config) = document["load"]["num_devices"], as_served(name, grid.study.sizes, NOISE_CV)
    devices = as_fast_as(document, grid.cost)
    runs = [
        simulate(grid.cost, requests, policy, num_devices, seed, config, devices=devices).outcomes
        for seed in range(NOISE_SEEDS)
    ]
    return Paced(
        tuple(slo_attainment(run) for run in runs),
        tuple(statistics.fmean(one.latency_s for one in run) for run in runs),
    )


def verdict(found: list[Pair]) -> str:
    """The means, and whether they are what was wanted."""
    sar = [abs(pair.sar_difference) for pair in found]
    latency = [abs(pair.latency_difference) for pair in found if not math.isnan(pair.latency_difference)]
    signed = statistics.fmean(pair.sar_difference for pair in found)
    num_near = sum(one <= SAR_GOAL + 1e-9 for one in sar)
    paced_sar = statistics.fmean(abs(pair.paced_sar_difference) for pair in found)
    paced_latency = [abs(one) for pair in found if not math.isnan(one := pair.paced_latency_difference)]
    num_within = sum(
        min(pair.paced.sars) - 1e-9 <= pair.client.total.sar <= max(pair.paced.sars) + 1e-9 for pair in found
    )
    return (
        f"Served minus simulated, shares on time are {100 * signed:+.1f} points apart in the mean, "
        f"{100 * statistics.fmean(sar):.1f} without their signs, {100 * max(sar):.1f} at most; {num_near} of "
        f"{len(sar)} by no more than {100 * SAR_GOAL:.0f}. Mean latencies differ by "
        f"{percent(statistics.fmean(latency), 1)} in the mean (wanted: {percent(LATENCY_GOAL)}), "
        f"{percent(max(latency), 1)} at most. Machines of one kind differ, and under load trifles change a schedule: "
        f"so each cell was also simulated, by today's code, {NOISE_SEEDS} times with chunks that take what they took "
        f"in it, steps give or take {percent(NOISE_CV)}. From their means, served shares are {100 * paced_sar:.1f} "
        f"points and mean latencies {percent(statistics.fmean(paced_latency), 1)} away, without their signs; "
        f"{num_within} cells lie within what they span.\n"
    )


def fidelity_table(found: list[Pair]) -> str:
    """A row for each cell and scale."""
    headings = [
        "",
        "scale",
        "on time: served",
        "engine alone",
        "simulated",
        "difference (points)",
        "at its pace",
        "mean latency: engine (s)",
        "simulated (s)",
        "difference",
        "at its pace (s)",
        "difference",
        "files and HTTP (s)",
    ]
    return table(headings, [_row(pair) for pair in found])


def fidelity_by_size(grid: Grid, found: list[Pair]) -> str:
    """Over all cells: mean latency by size, served against simulated."""
    rows = []
    for size in map(str, grid.study.sizes):
        both = [
            (pair.engine.by_size[size], pair.simulated.by_size[size]) for pair in found if size in pair.engine.by_size
        ]
        latency = [one for pair in both if not math.isnan(one := relative(*pair))]
        sar = [served.sar - simulated.sar for served, simulated in both]
        if latency:
            signed = percent(statistics.fmean(latency), 1)
            rows.append([size, signed, percent(max(map(abs, latency)), 1), number(100 * statistics.fmean(sar), 1)])
    return table(
        ["", "mean latency against simulated, mean of cells", "furthest", "on time (engine) minus simulated (points)"],
        rows,
    )


def _row(pair: Pair) -> list[str]:
    client, engine, simulated = pair.client.total, pair.engine.total, pair.simulated.total
    return [
        f"`{pair.name}`, {heading(pair.column)}",
        f"{pair.scale:g}",
        share(client.sar),
        share(engine.sar),
        share(simulated.sar),
        number(100 * pair.sar_difference, 1),
        f"{share(min(pair.paced.sars))} to {share(max(pair.paced.sars))}",
        number(engine.mean_latency_s),
        number(simulated.mean_latency_s),
        percent(pair.latency_difference, 1),
        number(statistics.fmean(pair.paced.latencies_s)),
        percent(pair.paced_latency_difference, 1),
        number(client.mean_latency_s - engine.mean_latency_s),
    ]
