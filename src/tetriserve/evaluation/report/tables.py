"""The tables of one model: a row for each contender, a column for each mix and load."""

from collections.abc import Callable

from tetriserve.bound.solve import hindsight_bound
from tetriserve.evaluation.report.grid import Column, Grid
from tetriserve.evaluation.report.markdown import MISSING, bold, number, percent, share, slashes, table

HINDSIGHT_S = 60.0
"""A bound that is not solved by then is what has been proved, and still one."""


def attainment(grid: Grid) -> str:
    """SLO attainment at every scale, the best in bold; and below what no schedule exceeds."""
    shown: dict[tuple[str, Column], list[str]] = {
        (name, column): [] for name in grid.contenders for column in grid.columns
    }
    for column in grid.columns:
        for scale in grid.study.scales:
            reports = [grid.report(name, column, scale) for name in grid.contenders]
            values = bold([None if one is None else one.total.sar for one in reports])
            for name, value in zip(grid.contenders, values, strict=True):
                shown[name, column].append(value)
    most = [slashes([_most(grid, column, scale) for scale in grid.study.scales]) for column in grid.columns]
    last = ["no schedule, the future known", *most]
    return _by_column(grid, lambda name, column: slashes(shown[name, column]), last)


def _most(grid: Grid, column: Column, scale: float) -> str:
    """Whole requests, with steps and stages that take what the profile says."""
    requests = grid.requests(column, scale)
    if not requests or grid.cost is None:
        return MISSING
    return share(hindsight_bound(grid.cost, requests, grid.num_devices, HINDSIGHT_S).sar)


def attainment_by_size(grid: Grid, column: Column) -> str:
    """SLO attainment at every scale by size, for one mix and load."""
    sizes = [str(size) for size in grid.study.sizes]

    def cell(name: str, size: str) -> str:
        reports = [grid.report(name, column, scale) for scale in grid.study.scales]
        found = [None if one is None else one.by_size.get(size) for one in reports]
        return slashes([MISSING if one is None else share(one.sar) for one in found])

    rows = [[f"`{name}`", *(cell(name, size) for size in sizes)] for name in grid.contenders]
    return table(["", *sizes], [row for row in rows if set(row[1:]) != {MISSING}])


def latency(grid: Grid) -> str:
    """Mean and 99th percentile of the client's latency, at the first scale."""

    def cell(name: str, column: Column) -> str:
        found = grid.report(name, column, grid.study.scales[0])
        return (
            MISSING if found is None else f"{number(found.total.mean_latency_s)}, {number(found.total.p99_latency_s)}"
        )

    return _by_column(grid, cell)


def cost(grid: Grid) -> str:
    """Device-seconds an image, and utilisation, at the first scale."""

    def cell(name: str, column: Column) -> str:
        found, facts = grid.report(name, column, grid.study.scales[0]), grid.facts(name, column)
        if found is None:
            return MISSING
        busy = "" if facts is None else f", {percent(facts.utilization)}"
        return number(found.total.gpu_seconds_per_image) + busy

    return _by_column(grid, cell)


def scheduling(grid: Grid) -> str:
    """Decisions, predictions, switches: a row for each of our policies, over all its cells at the first scale."""
    headings = [
        "",
        "decision p50, p99 (ms)",
        "step time against profile: median, p95",
        "moves an image",
        "changes of degree an image",
        "cost of a move (ms)",
    ]
    rows = []
    for name in grid.policies:
        rows += [_scheduling_row(grid, name, column) for column in grid.columns]
    return table(headings, [row for row in rows if row is not None])


def _scheduling_row(grid: Grid, name: str, column: Column) -> list[str] | None:
    document, facts = grid.document(name, column, grid.study.scales[0]), grid.facts(name, column)
    if document is None or facts is None:
        return None
    decision = document["run"]["decision_ms"]
    return [
        f"`{name}`, {heading(column)}",
        f"{number(decision['p50'])}, {number(decision['p99'])}",
        f"{percent(facts.median_error, 1)}, {percent(facts.p95_error, 1)}",
        number(facts.moves, 1),
        number(facts.degree_changes, 1),
        number(facts.move_ms),
    ]


def heading(column: Column) -> str:
    """A mix and a load in words."""
    mix, load = column
    return f"{mix} {load.replace('%', ' %').replace('/min', ' a minute')}"


def _by_column(grid: Grid, cell: Callable[[str, Column], str], *more: list[str]) -> str:
    rows = [[f"`{name}`", *(cell(name, column) for column in grid.columns)] for name in grid.contenders]
    return table(["", *map(heading, grid.columns)], [*rows, *more])
