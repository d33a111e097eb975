"""Simulator against reality: every cell of ours beside its simulation."""

import math
import statistics
from dataclasses import dataclass

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
class Pair:
    """One cell at one scale. Latencies are compared on the engine's clock: the simulator knows no files and no HTTP.

    `noisy`: least and greatest share on time of simulations with NOISE_CV.
    """

    name: str
    column: Column
    scale: float
    client: Report
    engine: Report
    simulated: Report
    noisy: tuple[float, float]

    @property
    def sar_difference(self) -> float:
        """Served, judged by the client, minus simulated."""
        return self.client.total.sar - self.simulated.total.sar

    @property
    def latency_difference(self) -> float:
        """Mean latency, served over simulated, minus one."""
        return relative(self.engine.total, self.simulated.total)


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
                    noisy = _noisy(grid, name, column, scale)
                    found.append(Pair(name, column, scale, client, engine, simulated, noisy))
    return found


def _noisy(grid: Grid, name: str, column: Column, scale: float) -> tuple[float, float]:
    document = grid.document(name, column, scale)
    assert document is not None and grid.cost is not None
    requests = [one.request for one in outcomes(document, grid.study, scale, "simulated")]
    num_devices, (policy, config) = document["load"]["num_devices"], as_served(name, grid.study.sizes, NOISE_CV)
    shares = [
        slo_attainment(simulate(grid.cost, requests, policy, num_devices, seed, config).outcomes)
        for seed in range(NOISE_SEEDS)
    ]
    return min(shares), max(shares)


def verdict(found: list[Pair]) -> str:
    """The means, and whether they are what was wanted."""
    sar = [abs(pair.sar_difference) for pair in found]
    latency = [abs(pair.latency_difference) for pair in found if not math.isnan(pair.latency_difference)]
    signed = statistics.fmean(pair.sar_difference for pair in found)
    num_near = sum(one <= SAR_GOAL + 1e-9 for one in sar)
    num_within = sum(pair.noisy[0] - 1e-9 <= pair.client.total.sar <= pair.noisy[1] + 1e-9 for pair in found)
    return (
        f"Served minus simulated, shares on time are {100 * signed:+.1f} points apart in the mean, "
        f"{100 * statistics.fmean(sar):.1f} without their signs, {100 * max(sar):.1f} at most; {num_near} of "
        f"{len(sar)} by no more than {100 * SAR_GOAL:.0f}. {num_within} lie within what {NOISE_SEEDS} "
        f"simulations span whose step times vary by {percent(NOISE_CV)}: under load, trifles change a schedule. Mean "
        "latencies differ by "
        f"{percent(statistics.fmean(latency), 1)} in the mean (wanted: {percent(LATENCY_GOAL)}), "
        f"{percent(max(latency), 1)} at most.\n"
    )


def fidelity_table(found: list[Pair]) -> str:
    """A row for each cell and scale."""
    headings = [
        "",
        "scale",
        "on time: served",
        "engine alone",
        "simulated",
        "with noise",
        "difference (points)",
        "mean latency: engine (s)",
        "simulated (s)",
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
        f"{share(pair.noisy[0])} to {share(pair.noisy[1])}",
        number(100 * pair.sar_difference, 1),
        number(engine.mean_latency_s),
        number(simulated.mean_latency_s),
        percent(pair.latency_difference, 1),
        number(client.mean_latency_s - engine.mean_latency_s),
    ]
