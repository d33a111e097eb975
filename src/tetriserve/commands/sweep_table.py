"""The results of a sweep as tables that fit a terminal."""

from collections.abc import Callable, Iterator, Sequence
from math import isnan, nan
from typing import Any

from rich.table import Table

from tetriserve.sim.sweep import Row

CELL = ("mix", "rate", "scale")


def sweep_tables(document: dict[str, Any], width: int) -> Iterator[Table]:
    """One row a cell, one column a policy: mean SAR over seeds. As many tables as whole headings need."""
    grid = document["config"]["grid"]
    columns = [*grid["policies"], *grid["solvers"]]
    room = width - len("GPU s / on time") - sum(len(name) + 1 for name in CELL[1:])
    for names in _fitting(columns, room):
        yield _table(document, names)


def _fitting(columns: Sequence[str], room: int) -> Iterator[list[str]]:
    """The columns in groups, each no wider than there is room for."""
    group: list[str] = []
    for name in columns:
        if group and sum(_width(one) for one in [*group, name]) > room:
            yield group
            group = []
        group.append(name)
    yield group


def _width(name: str) -> int:
    return 1 + max(len(name), len("0.000"))


def _table(document: dict[str, Any], columns: Sequence[str]) -> Table:
    grid = document["config"]["grid"]
    table = Table(title=f"SLO attainment, mean of {len(grid['seeds'])} seeds", box=None, padding=(0, 0, 0, 1))
    for heading in (*CELL, *columns):
        table.add_column(heading, justify="left" if heading == "mix" else "right", overflow="fold")
    by_cell: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in document["means"]:
        by_cell.setdefault((row["mix"], row["rate_per_min"], row["slo_scale"]), {})[row["policy"]] = row["sar"]
    for (mix, rate_per_min, scale), sar in by_cell.items():
        table.add_row(mix, f"{rate_per_min:g}", f"{scale:g}", *(f"{sar[name]:.3f}" for name in columns))
    mean = _overall(document["means"])
    table.add_row("mean", "", "", *(f"[bold]{mean(name, 'sar'):.3f}[/]" for name in columns))
    for solver in grid["solvers"]:
        table.add_row(f"of {solver}", "", "", *(f"{mean(name, f'of_{solver}'):.3f}" for name in columns))
    shown = (_number(mean(name, "gpu_s_per_on_time_image")) for name in columns)
    table.add_row("GPU s / on time", "", "", *shown)
    return table


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.1f}"


def _overall(rows: Sequence[Row]) -> Callable[[str, str], float]:
    """The mean over cells of a number of a policy; NaN if it is not in all cells."""

    def mean(policy: str, number: str) -> float:
        values: list[float] = [row.get(number, nan) for row in rows if row["policy"] == policy]
        return sum(values) / len(values)

    return mean
